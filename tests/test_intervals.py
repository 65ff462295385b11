import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from src.intervals import bootstrap, clopper_pearson, derived, log_log_slope


def mean(columns):
    return columns[0].mean(-1)


@pytest.mark.parametrize(("cells", "members"), [(1, 3), (4, 3), (2, 8)])
def test_bootstrap_covers_the_truth_about_as_often_as_it_says(cells, members):
    random, cell, offset = np.random.default_rng(0), np.repeat(np.arange(cells), members), 10 * np.arange(cells)
    intervals = [
        bootstrap(mean, (random.normal(size=cells * members) + offset[cell])[None], cell, derived(trial))
        for trial in range(400)
    ]
    covered = np.mean([low <= offset.mean() <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.985


def test_bootstrap_resamples_within_cells_only():
    low, high = bootstrap(mean, np.array([[0.0, 0.0, 100.0, 100.0]]), ["a", "a", "b", "b"], derived(0))
    assert low == high == 50  # cells differ by 100, the members of a cell not at all


def test_bootstrap_is_the_same_every_time_and_differs_by_role():
    columns = np.random.default_rng(1).normal(size=(1, 6))
    once, again, other = (bootstrap(mean, columns, [0] * 6, derived(role)) for role in ("a", "a", "b"))
    assert once == again != other


def test_one_member_a_cell_gives_no_interval():
    assert np.isnan(bootstrap(mean, np.array([[1.0, 2.0]]), ["a", "b"], derived(0))).all()


@given(st.integers(1, 3000).flatmap(lambda points: st.tuples(st.integers(0, points), st.just(points))))
def test_clopper_pearson_is_scipys_exact_bound_at_either_end(case):
    errors, points = case
    low, high = clopper_pearson(errors, points)
    below = binomtest(errors, points, alternative="less").proportion_ci(0.95, "exact").high
    above = binomtest(errors, points, alternative="greater").proportion_ci(0.95, "exact").low
    np.testing.assert_allclose((low, high), (above, below), rtol=1e-9, atol=1e-12)


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_slope_of_a_power_law_is_its_exponent(exponent, factor):
    x = np.array([256.0, 1024.0, 4096.0, 2.0**20])
    assert log_log_slope(np.stack([factor * x**exponent, x])) == pytest.approx(exponent, abs=1e-9)
