import math

import numpy as np
import pytest
import torch

from src.optimizers import norms, polar
from src.optimizers.muon import spectral
from tests.problems import inner, random_params

SHAPES = {"w1": (5, 7), "w2": (6, 5), "w3": (1, 6)}

NORMS = {
    "l2": norms.l2(),
    "linf": norms.linf(),
    "msp": norms.msp(),
    "hyb(0.3)": norms.hybrid(0.3),
    "hyb(4)": norms.hybrid(4.0),
    "rows": norms.row_max(),
    "lp(1)": norms.lp(1),
    "lp(1.5)": norms.lp(1.5),
    "lp(7)": norms.lp(7),
    "schatten(1)": norms.schatten_p(1),
    "schatten(3)": norms.schatten_p(3),
    "schatten(4)": norms.schatten_p(4),
    "muon, original scaling": spectral(polar.exact, "original"),
    "muon, match_rms scaling": spectral(polar.exact, "match_rms"),
    "l2 product of spectral": norms.over_layers(2, norms.schatten(math.inf)),
    "sum of spectral": norms.over_layers(1, norms.schatten(math.inf)),
}


def graded(gradient):
    """Return a gradient with singular values from 1 to 1e-14 in every layer."""
    u, sigma, vt = torch.linalg.svd(gradient, full_matrices=False)
    return (u * torch.logspace(0, -14, sigma.shape[-1], dtype=torch.float64)) @ vt


GRADIENTS = {
    "gaussian": lambda g: g,
    "tiny": lambda g: 1e-200 * g,
    "huge": lambda g: 1e200 * g,
    "graded": graded,
    "rank one": lambda g: g[:, :, :1] @ g[:, :1, :],
    "constant pixel": lambda g: g * (torch.arange(g.shape[-1]) > 0),
    "duplicate rows": lambda g: g[:, torch.zeros(g.shape[1], dtype=torch.int64)],
    "one layer zero": lambda g: g * (g.shape[1] != 6),
}


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("name", NORMS)
def test_steepest_direction_is_optimal_in_its_norm(name, gradient):
    """⟨u, g⟩ = ‖g‖_* and ‖u‖ = 1 to 1e-12."""
    norm = NORMS[name]
    grads = {key: GRADIENTS[gradient](leaf) for key, leaf in random_params(SHAPES).items()}
    assert_optimal(norm, grads)


@pytest.mark.parametrize("name", [name for name in NORMS if not name.startswith("muon")])
def test_a_layer_of_several_matrices_is_their_block_diagonal_matrix(name):
    norm, shapes = NORMS[name], {"w1": (4, 5, 3), "w2": (4, 2, 5), "v": (4, 2), "b": (1,)}
    grads = random_params(shapes)
    assert_optimal(norm, grads)
    if name.startswith(("schatten", "msp", "rows")):
        blocks = {
            key: torch.stack([torch.block_diag(*member) for member in leaf]) if leaf.ndim == 4 else leaf
            for key, leaf in grads.items()
        }
        torch.testing.assert_close(norm.value(grads), norm.value(blocks), rtol=1e-12, atol=0)
        torch.testing.assert_close(norm.dual(grads), norm.dual(blocks), rtol=1e-12, atol=0)


def assert_optimal(norm, grads):
    u, dual = norm.steepest(grads), norm.dual(grads)
    assert (norm.value(u) - 1).abs().max() < 1e-12
    assert (inner(u, grads) / dual - 1).abs().max() < 1e-12


@pytest.mark.parametrize("name", NORMS)
def test_dual_bounds_every_direction(name):
    """Hölder: ⟨w, g⟩ ≤ ‖w‖ ‖g‖_*, so no direction is steeper; and ‖·‖ is a norm."""
    norm = NORMS[name]
    grads = random_params(SHAPES, members=200, seed=1)
    w, v = random_params(SHAPES, members=200, seed=2), random_params(SHAPES, members=200, seed=3)
    assert (inner(w, grads) <= norm.value(w) * norm.dual(grads)).all()
    total = {key: w[key] + v[key] for key in w}
    assert (norm.value(total) <= norm.value(w) + norm.value(v)).all()
    torch.testing.assert_close(norm.value({key: -3 * leaf for key, leaf in w.items()}), 3 * norm.value(w))


def test_values_agree_with_their_definitions():
    params = random_params(SHAPES, members=1)
    w1, w2, w3 = (leaf[0].numpy() for leaf in params.values())
    flat = np.concatenate([w1.ravel(), w2.ravel(), w3.ravel()])
    sigma = np.concatenate([np.linalg.svd(w, compute_uv=False) for w in (w1, w2, w3)])
    nuclear = [np.linalg.norm(w, "nuc") for w in (w1, w2)]
    expected = {
        "l2": (np.linalg.norm(flat), np.linalg.norm(flat)),
        "linf": (abs(flat).max(), abs(flat).sum()),
        "msp": (sigma.max(), sigma.sum()),
        "hyb(0.3)": (max(0.3 * np.linalg.norm(w, 2) for w in (w1, w2)), sum(nuclear) / 0.3 + abs(w3).sum()),
        "rows": (
            max(np.linalg.norm(w, axis=1).max() for w in (w1, w2, w3)),
            sum(np.linalg.norm(w, axis=1).sum() for w in (w1, w2, w3)),
        ),
        "lp(7)": ((abs(flat) ** 7).sum() ** (1 / 7), (abs(flat) ** (7 / 6)).sum() ** (6 / 7)),
        "schatten(4)": ((sigma**4).sum() ** 0.25, (sigma ** (4 / 3)).sum() ** 0.75),
    }
    expected["hyb(0.3)"] = (max(expected["hyb(0.3)"][0], abs(w3).max()), expected["hyb(0.3)"][1])
    for name, (value, dual) in expected.items():
        assert NORMS[name].value(params).item() == pytest.approx(value, rel=1e-13), name
        assert NORMS[name].dual(params).item() == pytest.approx(dual, rel=1e-13), name


def test_special_cases_agree():
    grads = random_params(SHAPES)
    for a, b in ((norms.schatten_p(2), norms.l2()), (norms.schatten_p(1e9), norms.msp()), (norms.lp(2), norms.l2())):
        torch.testing.assert_close(a.value(grads), b.value(grads), rtol=1e-7, atol=0)
        torch.testing.assert_close(a.steepest(grads), b.steepest(grads), rtol=1e-7, atol=1e-7)


def test_a_vector_is_a_matrix_of_one_row():
    vector, row = random_params({"v": (9,)}), random_params({"v": (1, 9)})
    for norm in (norms.msp(), norms.schatten_p(3), norms.row_max(), norms.l2()):
        torch.testing.assert_close(norm.value(vector), norms.l2().value(vector))
        torch.testing.assert_close(norm.dual(vector), norm.dual(row))
        torch.testing.assert_close(norm.steepest(vector)["v"], norm.steepest(row)["v"].squeeze(1))


def test_steepest_in_l1_changes_the_largest_entry_only():
    grads = {"w": torch.tensor([[[0.5, -2.0, 1.0]]], dtype=torch.float64)}
    assert norms.lp(1).steepest(grads)["w"].tolist() == [[[0.0, -1.0, 0.0]]]


@pytest.mark.parametrize("rounding", [-1e-15, 0.0, 1e-15])
def test_steepest_in_l1_is_uniform_over_entries_equal_up_to_rounding(rounding):
    grads = {"w": torch.tensor([[[2.0, -2.0 * (1 + rounding), 1.0]]], dtype=torch.float64)}
    assert norms.lp(1).steepest(grads)["w"].tolist() == [[[0.5, -0.5, 0.0]]]


@pytest.mark.parametrize("name", NORMS)
def test_zero_gradient_has_no_direction(name):
    zeros = {key: torch.zeros_like(leaf) for key, leaf in random_params(SHAPES).items()}
    assert all((leaf == 0).all() for leaf in NORMS[name].steepest(zeros).values())
    assert (NORMS[name].value(zeros) == 0).all()
    assert (NORMS[name].dual(zeros) == 0).all()


@pytest.mark.parametrize("name", NORMS)
def test_a_member_that_is_not_finite_does_not_affect_the_others(name):
    params = random_params(SHAPES)
    diverged = {key: leaf.clone() for key, leaf in params.items()}
    diverged["w1"][1, 0, 0] = torch.nan
    for of in (NORMS[name].value, NORMS[name].dual):
        torch.testing.assert_close(of(diverged)[[0, 2]], of(params)[[0, 2]])
        assert of(diverged)[1].isnan()


def test_memoized_singular_values_are_computed_once_and_equal():
    calls = []

    def counted(layer):
        calls.append(layer)
        return norms.singular_values(layer)

    weights, grads = (random_params(SHAPES, seed=seed) for seed in (0, 1))
    sigma = norms.memoize(counted)
    for _ in range(2):
        for name in ("msp", "hyb", "schatten"):
            shared, alone = norms.norm_from_name(name, p=3, sigma=sigma), norms.norm_from_name(name, p=3)
            assert torch.equal(shared.value(weights), alone.value(weights))
            assert torch.equal(shared.dual(grads), alone.dual(grads))
    assert len(calls) == 2 * len(SHAPES)
