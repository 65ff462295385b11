"""Confidence intervals: bootstrap over seeds, Clopper–Pearson for rates and fractions. No torch here.

All are two-sided with a coverage of 95 %, except the one-sided ``least_share``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95
RESAMPLES = 2000


def generator_of(*rng_key: object) -> np.random.Generator:
    """Return a generator that depends on ``rng_key`` alone, never on the order of calls.

    >>> generator_of("P1-C2", 0).random() == generator_of("P1-C2", 0).random()
    True
    """
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(rng_key).encode()).digest()[:8], "big"))


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    columns: np.ndarray,
    cell: Sequence[object],
    seed: Sequence[int],
    generator: np.random.Generator,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return the interval of a statistic of all members by a cluster bootstrap over seeds.

    The members of one seed are correlated across the cells of a sweep, as they start from the same draws. So a seed
    that is drawn is drawn in every cell. If the cells have different seeds, each cell is resampled by itself.

    A percentile interval of few members is too short: resampling shrinks the variance by (n − 1)/n, and the quantile is
    normal instead of Student's. So both ends are moved away from the estimate by the factor ``√(n/ν)·t_ν/z``. Here n
    seeds have ν = n − 1 degrees of freedom; if cells have different seeds, N members in C cells have ν = N − C.

    Args:
        statistic: ``[F, ..., N] -> [...]``, over the last axis.
        columns: ``[F, N]``, values of the members, one member a column.
        cell: cell of each member, length N.
        seed: seed of each member, length N, distinct within a cell.
        generator: source of the resamples.
        level: coverage of the interval.

    Returns:
        ``(low, high)``; ``(nan, nan)`` for one seed or one member in every cell.
    """
    names, cell_of = np.unique([str(name) for name in cell], return_inverse=True)
    seeds, seed_of = np.unique(np.asarray(seed), return_inverse=True)
    shared = len(cell_of) == len(names) * len(seeds)
    n, blocks = (len(seeds), 1) if shared else (len(cell_of), len(names))
    freedom = n - blocks
    if freedom == 0:
        return np.nan, np.nan
    drawn = np.empty((RESAMPLES, len(cell_of)), dtype=int)
    if shared:
        member = np.empty((len(names), len(seeds)), dtype=int)  # [C, n]: member of each cell and seed
        member[cell_of, seed_of] = np.arange(len(cell_of))
        drawn[:] = member[cell_of, generator.integers(len(seeds), size=(RESAMPLES, len(seeds)))[:, seed_of]]
    else:
        for index in range(len(names)):
            members = np.flatnonzero(cell_of == index)
            drawn[:, members] = generator.choice(members, (RESAMPLES, len(members)))
    tail = (1 - level) / 2
    estimate = statistic(columns)
    low, high = np.quantile(statistic(columns[:, drawn]), [tail, 1 - tail])
    # s = √(n/ν) · t_ν/z, both at 97.5 % for a coverage of 95 %
    stretch = np.sqrt(n / freedom) * stdtrit(freedom, 1 - tail) / stdtrit(np.inf, 1 - tail)
    return float(estimate + stretch * (low - estimate)), float(estimate + stretch * (high - estimate))


def clopper_pearson(errors: float, points: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a rate; counts need not be integers, as the members of a seed count as one trial.

    >>> [round(end, 5) for end in clopper_pearson(0, 1000)]
    [0.0, 0.00368]
    """
    tail = (1 - level) / 2
    low = betaincinv(errors, points - errors + 1, tail) if errors > 0 else 0.0
    high = betaincinv(errors + 1, points - errors, 1 - tail) if errors < points else 1.0
    return float(low), float(high)


def least_share(successes: int, seeds: int) -> float:
    """Return the lower end of the one-sided 95 % interval of the share of all seeds, 0.05^{1/n} for n of n.

    >>> round(least_share(5, 5), 2), round(least_share(4, 5), 2)
    (0.55, 0.34)
    """
    return float(betaincinv(successes, seeds - successes + 1, 1 - LEVEL)) if successes else 0.0


def line_r2(y_and_x: np.ndarray) -> np.ndarray:
    """Return R² of the least-squares line through the means of y at every x, over the last axis of ``[2, ..., N]``."""
    mean, _, fitted = _line(y_and_x)
    residual, total = mean - fitted, mean - mean.mean(-1, keepdims=True)
    return 1 - (residual * residual).sum(-1) / (total * total).sum(-1)


def line_intercept(y_and_x: np.ndarray) -> np.ndarray:
    """Return the value of that line at x = 0 over its value at the largest x: 0 if y ∝ x.

    >>> float(line_intercept(np.array([[3.0, 5.0], [1.0, 2.0]])))
    0.2
    """
    _, at_zero, fitted = _line(y_and_x)
    return at_zero / fitted[..., -1]


def _line(y_and_x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means of y at the sorted distinct x; their least-squares line at 0; the line at these x.

    Resampling seeds does not change x, so the x of one resample are those of all.
    """
    y, (x, *_) = y_and_x[0], y_and_x[1].reshape(-1, y_and_x.shape[-1])
    levels = np.unique(x)
    mean = np.stack([y[..., x == level].mean(-1) for level in levels], -1)
    centred = levels - levels.mean()
    slope = (centred * mean).sum(-1, keepdims=True) / (centred * centred).sum()
    fitted = mean.mean(-1, keepdims=True) + slope * centred
    return mean, (fitted[..., :1] - slope * levels[0])[..., 0], fitted


def log_log_slope(y_and_x: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of log y on log x over the last axis of ``[2, ..., N]``."""
    y, x = np.log(y_and_x)
    x = x - x.mean(-1, keepdims=True)
    # slope = Σ (log x − mean)·log y / Σ (log x − mean)²
    return (x * y).sum(-1) / (x * x).sum(-1)


def x_where_one(y_and_x: np.ndarray) -> np.ndarray:
    """Return the x at which the log–log line through the members has y = 1, over the last axis of ``[2, ..., N]``.

    >>> round(float(x_where_one(np.array([[0.1, 0.2], [5.0, 10.0]]))), 6)
    50.0
    """
    y, x = np.log(y_and_x)
    return np.exp(x.mean(-1) - y.mean(-1) / log_log_slope(y_and_x))
