import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, linregress

from src.claims.intervals import (
    bootstrap,
    clopper_pearson,
    generator_of,
    least_share,
    line_intercept,
    line_r2,
    log_log_slope,
)


def mean(columns):
    return columns[0].mean(-1)


def covered(cells, seeds, alike, *, shared=True, statistic=mean, truth=0.0, values=lambda noise, cell: noise[None]):
    """Return the coverage of the interval of ``statistic``; ``alike`` is the correlation of a seed across cells."""
    random, cell = np.random.default_rng(0), np.repeat(np.arange(cells), seeds)
    seed = np.tile(np.arange(seeds), cells) if shared else np.arange(cells * seeds)
    inside = 0
    for trial in range(400):
        noise = np.sqrt(alike) * random.normal(size=cells * seeds)[seed]
        noise += np.sqrt(1 - alike) * random.normal(size=cells * seeds)
        low, high = bootstrap(statistic, values(noise, cell), cell, seed, generator_of(trial))
        inside += low <= truth <= high
    return inside / 400


@pytest.mark.parametrize(("cells", "seeds", "alike"), [(1, 3, 0.5), (4, 3, 0.9), (5, 5, 0.9), (2, 8, 0.0)])
def test_bootstrap_covers_the_truth_about_as_often_as_it_says(cells, seeds, alike):
    offset = lambda noise, cell: (noise + 10 * cell)[None]  # noqa: E731
    assert 0.90 <= covered(cells, seeds, alike, values=offset, truth=5 * (cells - 1)) <= 0.985


@pytest.mark.parametrize(("cells", "members"), [(4, 3), (2, 8)])
def test_cells_with_seeds_of_their_own_count_each_for_itself(cells, members):
    assert 0.90 <= covered(cells, members, 0.0, shared=False) <= 0.985


@pytest.mark.parametrize("alike", [0.9])
def test_a_slope_over_cells_that_share_seeds_is_covered(alike):
    """Effects of a seed that grow with the size of the cell widen the interval of a slope."""

    def values(noise, cell):
        return np.stack([np.exp(0.5 * cell + 0.1 * noise * cell), np.exp(cell)])

    assert 0.90 <= covered(5, 5, alike, statistic=log_log_slope, truth=0.5, values=values) <= 0.985


def test_a_seed_is_drawn_in_all_cells_at_once():
    """Deviations cancel if cells share their seeds, and not otherwise."""
    columns, cell = np.array([[1.0, -2.0, 3.0, -1.0, 2.0, -3.0]]), list("aaabbb")
    assert bootstrap(mean, columns, cell, [0, 1, 2, 0, 1, 2], generator_of(0)) == (0, 0)
    assert bootstrap(mean, columns[:, [0, 1, 2, 4, 5, 3]], cell, [0, 1, 2, 1, 2, 0], generator_of(0)) == (0, 0)
    low, high = bootstrap(mean, columns, cell, range(6), generator_of(0))
    assert low < -1
    assert high > 1


def test_bootstrap_resamples_within_cells_only():
    for seed in ([0, 1, 0, 1], range(4)):
        low, high = bootstrap(mean, np.array([[0.0, 0.0, 100.0, 100.0]]), ["a", "a", "b", "b"], seed, generator_of(0))
        assert low == high == 50  # cells differ by 100, the members of a cell not at all


def test_bootstrap_is_the_same_every_time_and_differs_by_key():
    columns = np.random.default_rng(1).normal(size=(1, 6))
    once, again, other = (bootstrap(mean, columns, [0] * 6, range(6), generator_of(key)) for key in ("a", "a", "b"))
    assert once == again != other


def test_one_seed_gives_no_interval():
    for seed in ([0, 0], [0, 1]):
        assert np.isnan(bootstrap(mean, np.array([[1.0, 2.0]]), ["a", "b"], seed, generator_of(0))).all()


@given(st.integers(1, 3000).flatmap(lambda points: st.tuples(st.integers(0, points), st.just(points))))
def test_clopper_pearson_is_scipys_exact_interval(case):
    errors, points = case
    low, high = clopper_pearson(errors, points)
    exact = binomtest(errors, points).proportion_ci(0.95, "exact")
    np.testing.assert_allclose((low, high), (exact.low, exact.high), rtol=1e-9, atol=1e-12)
    one_sided = binomtest(errors, points, alternative="greater").proportion_ci(0.95, "exact").low
    np.testing.assert_allclose(least_share(errors, points), one_sided, rtol=1e-9, atol=1e-12)


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_slope_of_a_power_law_is_its_exponent(exponent, factor):
    x = np.array([256.0, 1024.0, 4096.0, 2.0**20])
    assert log_log_slope(np.stack([factor * x**exponent, x])) == pytest.approx(exponent, abs=1e-9)


def test_line_through_means_is_that_of_scipy():
    random = np.random.default_rng(0)
    x = np.repeat(random.uniform(1, 2, 6), 4)
    y = 0.3 + 2 * x + random.normal(size=(3, 24))
    columns = np.stack([y, np.broadcast_to(x, y.shape)])
    levels = np.unique(x)
    for row, r2, intercept in zip(y, line_r2(columns), line_intercept(columns), strict=True):
        fit = linregress(levels, [row[x == level].mean() for level in levels])
        assert r2 == pytest.approx(fit.rvalue**2)
        assert intercept == pytest.approx(fit.intercept / (fit.intercept + fit.slope * levels[-1]))


def test_a_law_through_the_origin_has_no_intercept():
    x = np.repeat([1.0, 3.0, 4.0], 2)
    assert line_intercept(np.stack([5 * x, x])) == pytest.approx(0, abs=1e-12)
    assert line_r2(np.stack([5 * x, x])) == pytest.approx(1)
