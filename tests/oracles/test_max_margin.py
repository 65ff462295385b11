import builtins

import numpy as np
import pytest

from src.data import separable
from src.errors import ConfigError
from src.oracles.max_margin import dual_bound, dual_norm_of, max_margin, norm_of

NORMS = [
    ("l2", {}, 1e-12),
    ("linf", {}, 1e-12),
    ("msp", {}, 1e-7),
    ("rows", {}, 1e-7),
    ("lp", {"p": 1.0}, 1e-7),
    ("lp", {"p": 3.0}, 1e-7),
    ("schatten", {"p": 1.0}, 1e-7),
    ("schatten", {"p": 4.0}, 1e-7),
    ("schatten", {"p": 8.0}, 1e-7),
]


def matrices(seed=0, n=20, shape=(4, 5)):
    task = separable.build([seed], shape=list(shape), n=n, n_test=1)
    return task.x[0].numpy(), task.y[0].numpy()


@pytest.mark.parametrize(("norm", "options", "gap"), NORMS)
def test_strong_duality(norm, options, gap):
    """The separator has norm 1 and the returned margin; the multipliers prove it optimal."""
    x, y = matrices()
    optimum = max_margin(x, y, norm, **options)
    assert norm_of(optimum.separator, norm, **options) == pytest.approx(1, abs=1e-12)
    assert min(y * np.einsum("ab,nab->n", optimum.separator[0], x)) == pytest.approx(optimum.margin, abs=1e-12)
    assert optimum.margin <= optimum.bound * (1 + 1e-12)
    assert optimum.bound / optimum.margin - 1 < gap


def test_hybrid_norm_of_two_blocks():
    """As r → 0 only the matrix separates, with a spectral norm of 1/r."""
    x, y = matrices()
    blocks = [x, x[:, 0]]
    both = max_margin(blocks, y, "hyb", ratio=0.5)
    assert both.bound / both.margin - 1 < 1e-7
    assert both.margin > max_margin(x, y, "msp").margin / 0.5
    small = max_margin(blocks, y, "hyb", ratio=1e-3)
    assert 1e-3 * small.margin == pytest.approx(max_margin(x, y, "msp").margin, rel=0.01)


@pytest.mark.parametrize("norm", ["l2", "linf", "msp", "rows"])
def test_any_multipliers_bound_any_separator(norm):
    x, y = matrices(seed=1)
    draw = np.random.default_rng(0)
    best = max_margin(x, y, norm).margin
    for _ in range(50):
        assert dual_bound(x, y, draw.exponential(size=len(y)), norm) >= best
        w = [draw.normal(size=x.shape[1:])]
        assert min(y * np.einsum("ab,nab->n", w[0], x)) / norm_of(w, norm) <= best


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1e-8, 1e8, 1e12, 1e100])
@pytest.mark.parametrize(("norm", "options", "gap"), NORMS)
def test_units_of_the_data_do_not_matter(norm, options, gap, scale):
    x, y = matrices()
    optimum, scaled = max_margin(x, y, norm, **options), max_margin(scale * x, y, norm, **options)
    assert scaled.margin == pytest.approx(scale * optimum.margin, rel=max(gap, 1e-9))
    assert scaled.bound / scaled.margin - 1 < gap


@pytest.mark.parametrize("norm", ["l2", "linf", "msp"])
@pytest.mark.parametrize("margin", [1e-2, 1e-4, 1e-6, 1e-8, 1e-12])
def test_a_margin_near_rounding_is_certified_or_rejected(norm, margin):
    draw = np.random.default_rng(0)
    for _ in range(5):
        w, x = draw.standard_normal(5), draw.standard_normal((40, 5))
        w /= np.linalg.norm(w)
        y = np.sign(x @ w)
        x += np.outer(y * margin * (1 + draw.random(40)) - x @ w, w)
        try:
            optimum = max_margin(x, y, norm)
        except ConfigError as error:
            assert margin < 1e-4 and "rounding" in str(error)
        else:
            assert optimum.margin <= optimum.bound * (1 + 1e-9) and optimum.margin > 0.99 * optimum.bound


def test_two_points_in_the_plane_by_hand():
    """(2, 1) and −(2, 1): ℓ2 gives √5 along the point itself, ℓ∞ gives 3 along (1, 1), ℓ1 gives 2 along (1, 0)."""
    x, y = np.array([[2.0, 1.0], [-2.0, -1.0]]), np.array([1.0, -1.0])
    for norm, options, margin in (("l2", {}, 5**0.5), ("linf", {}, 3.0), ("lp", {"p": 1.0}, 2.0), ("msp", {}, 5**0.5)):
        assert max_margin(x, y, norm, **options).margin == pytest.approx(margin, rel=1e-7)


def test_l2_and_linf_agree_with_the_conic_solver():
    x, y = matrices(seed=2, shape=(1, 30))
    assert max_margin(x, y, "l2").margin == pytest.approx(max_margin(x, y, "lp", p=2.0).margin, rel=1e-7)
    assert max_margin(x, y, "rows").margin == pytest.approx(max_margin(x, y, "l2").margin, rel=1e-7)


def test_dual_norms_are_dual():
    draw = np.random.default_rng(0)
    for norm, options in [("hyb", {"ratio": 0.3}), *((name, o) for name, o, _ in NORMS)]:
        for _ in range(20):
            w, g = ([draw.normal(size=(3, 4)), draw.normal(size=(1, 3))] for _ in range(2))
            inner = sum((a * b).sum() for a, b in zip(w, g, strict=True))
            assert inner <= norm_of(w, norm, **options) * dual_norm_of(g, norm, **options)


@pytest.mark.parametrize("norm", ["l2", "linf", "msp"])
def test_data_that_are_not_separable_are_rejected(norm):
    x, y = matrices()
    with pytest.raises(ConfigError, match="needs linearly separable data"):
        max_margin(np.vstack([x, x]), np.concatenate([y, -y]), norm)


def test_without_cvxpy_the_error_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def without_cvxpy(name, *args, **kwargs):
        if name == "cvxpy":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_cvxpy)
    x, y = matrices()
    with pytest.raises(ConfigError, match="needs cvxpy"):
        max_margin(x, y, "msp")
    assert max_margin(x, y, "l2").margin > 0


def test_schatten_optimum_needs_a_power_of_two():
    x, y = matrices()
    with pytest.raises(ConfigError, match="1, 2, 4, 8"):
        max_margin(x, y, "schatten", p=3.0)
