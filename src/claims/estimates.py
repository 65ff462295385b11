"""Estimate the numbers of claims, with intervals, from the rows of experiments. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas

from src.claims.intervals import (
    LEVEL,
    bootstrap,
    clopper_pearson,
    generator_of,
    line_intercept,
    line_r2,
    log_log_slope,
    x_where_one,
)
from src.claims.schema import STATISTICS, WORST, Number
from src.claims.yaml_entries import names_in
from src.errors import nearest

OVER_MEMBERS = {
    "median": lambda columns: np.median(columns[0], -1),
    "mean": lambda columns: columns[0].mean(-1),
    "slope": log_log_slope,
    "x_where_one": x_where_one,
    "r2": line_r2,
    "intercept": line_intercept,
}

LOG_LOG = ("slope", "x_where_one")
RATIOS = ("ratio", "paired_ratio", "x_where_one")
"""Statistics with an interval from their logarithm if all values are positive."""
LARGEST = {"r2": 1.0}
"""Upper limit of a statistic, which a widened bootstrap interval could exceed."""
MOMENTS = {"final", "step", "steps", "matched"}
"""Columns that select steps of a member; ``matched`` is a loss that it first reaches there."""


class Estimate(NamedTuple):
    """An estimate with its interval, or its range over seeds for ``WORST``; unknown ends are NaN.

    ``by_seed`` has the worst value of every seed for ``WORST``, +∞ where no value of the baseline is positive.
    """

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...] = ()


class EstimateUnavailable(Exception):  # noqa: N818
    """No estimate, with the reason as one sentence; ``run`` is False if no finished cell has such rows."""

    def __init__(self, reason: str, run: bool = True):
        super().__init__(reason)
        self.run = run


def estimate(number: Number, rows: pandas.DataFrame, rng_key: tuple, level: float = LEVEL) -> Estimate:
    """Return the number's statistic of ``rows`` (one row per member); ``rng_key`` seeds the bootstrap.

    A rate and a fraction have exact bounds. The members of one seed count as one trial of a fraction, as they are
    correlated. Statistics of the worst member describe the networks that were run: their ends are the range over seeds
    of the worst of each. A new seed is at least as good with probability n/(n + 1) for n seeds.

    Raises:
        EstimateUnavailable: for a missing column, or values for which the statistic is not defined.
    """
    value = numbers(rows, number.quantity)
    if number.statistic in WORST:
        return _worst(number.statistic, rows, value)
    if rows.duplicated(["cell", "member", "is_baseline"]).any():
        advice = "add a condition that selects one, such as final or step == 100"
        raise EstimateUnavailable(f"'{number.rows}' selects several steps of one member; {advice}")
    if number.statistic == "rate":
        errors, points = value.sum(), numbers(rows, number.trials or "").sum()
        if not points:
            raise EstimateUnavailable(f"{number.trials} is 0")
        return Estimate(float(errors / points), *clopper_pearson(errors, points, level))
    if number.statistic == "fraction":
        fraction, seeds = value.mean(), rows["seed"].nunique()
        return Estimate(float(fraction), *clopper_pearson(fraction * seeds, seeds, level))

    columns, statistic = value[None], OVER_MEMBERS.get(number.statistic, OVER_MEMBERS["median"])
    cell: list[Any] = list(zip(rows["cell"], rows["is_baseline"], strict=True))
    seed = rows["seed"]
    if number.statistic == "paired_ratio":
        own, others = _by_seed(rows, value, "mean", "mean")
        columns = (own / others).to_numpy()[None]
        cell, seed = ["all"] * len(own), own.index
    if number.x is not None:
        columns = np.stack([value, numbers(rows, number.x)])
    if number.statistic in LOG_LOG and (nonpositive := int((columns <= 0).sum())):
        raise EstimateUnavailable(f"{nonpositive} values are not positive, so have no logarithm")
    if number.statistic == "ratio":
        baseline = rows["is_baseline"].to_numpy()

        def statistic(columns: np.ndarray) -> np.ndarray:  # resampling within cells does not change `baseline`
            return np.median(columns[0][..., ~baseline], -1) / np.median(columns[0][..., baseline], -1)

    generator = generator_of(*rng_key)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(statistic(columns))
        if not np.isfinite(centre):
            raise EstimateUnavailable(f"the {STATISTICS[number.statistic]} is not finite")
        if number.statistic in RATIOS and (columns > 0).all():  # so that a ratio and its inverse agree
            low, high = np.exp(bootstrap(lambda drawn: np.log(statistic(drawn)), columns, cell, seed, generator, level))
        else:
            low, high = bootstrap(statistic, columns, cell, seed, generator, level)
    return Estimate(centre, float(low), min(float(high), LARGEST.get(number.statistic, np.inf)))


def _worst(statistic: str, rows: pandas.DataFrame, value: np.ndarray) -> Estimate:
    if statistic in ("min", "max"):
        of_seeds = pandas.Series(value).groupby(rows["seed"].to_numpy()).agg(statistic)
    else:  # best or worst of the rows over the best of the baseline
        own, others = _by_seed(rows, value, "max" if statistic == "best_vs_best" else "min", "max")
        of_seeds = (own / others).where(others > 0, np.inf).where(own > 0, 0)
    finite = of_seeds[np.isfinite(of_seeds)]
    if finite.empty:
        raise EstimateUnavailable("no value of the baseline is positive")
    low, high = float(finite.min()), float(finite.max())
    return Estimate(high if statistic == "max" else low, low, high, tuple(map(float, of_seeds)))


def _by_seed(rows: pandas.DataFrame, value: np.ndarray, of: str, of_others: str) -> tuple[pandas.Series, pandas.Series]:
    """Return one number per seed from the rows, and one from the baseline."""
    grouped = rows.assign(value=value).groupby(["is_baseline", "seed"])["value"]
    own, others = grouped.agg(of).get(False), grouped.agg(of_others).get(True)
    if own is None or others is None or set(own.index) != set(others.index):
        raise EstimateUnavailable("a seed has no baseline to compare with")
    return own, others


def select(rows: pandas.DataFrame, condition: str) -> pandas.DataFrame:
    """Return the rows for which a condition over columns holds.

    Raises:
        EstimateUnavailable: if there are none, or the condition cannot be computed.
    """
    selected = rows[evaluate(rows, condition).astype(bool).to_numpy()]
    if selected.empty:
        raise EstimateUnavailable(f"no finished cell with {condition}", run=False)
    return selected


def rows_missing(rows: pandas.DataFrame, condition: str, at_each: Collection[str] = ()) -> list[str]:
    """Return a sentence if members have no row that meets the condition; otherwise nothing.

    Terms on ``MOMENTS`` select steps, terms on columns that are constant in a cell select cells. Any other condition
    selects members by their results, so that no row is missing. With names of moments ``at_each``, every member needs a
    row at each of their selected values.
    """
    whole = ast.parse(condition, mode="eval").body
    terms = whole.values if isinstance(whole, ast.BoolOp) and isinstance(whole.op, ast.And) else [whole]
    where = [ast.unparse(term) for term in terms if not names_in(term) <= MOMENTS]
    chosen = select(rows, " and ".join(f"({term})" for term in where)) if where else rows
    columns = sorted(set().union(*(names_in(ast.parse(term)) for term in where)))
    if columns and (rows.groupby("cell")[columns].nunique(dropna=False) > 1).any(axis=None):
        return []
    members = set(zip(chosen["cell"], chosen["member"], strict=True))
    selected = select(chosen, condition)
    steps = [rows for _, rows in selected.groupby(list(at_each))] if at_each else [selected]
    missing = set().union(*(members - set(zip(rows["cell"], rows["member"], strict=True)) for rows in steps))
    return [f"{len(missing)} of {len(members)} members have no row with {condition}"] if missing else []


def numbers(rows: pandas.DataFrame, expression: str) -> np.ndarray:
    """Return the expression as floats, one per row; raise EstimateUnavailable if one is not finite."""
    values = np.broadcast_to(np.asarray(evaluate(rows, expression), dtype=float), len(rows))
    if nonfinite := int((~np.isfinite(values)).sum()):
        raise EstimateUnavailable(f"{nonfinite} of {len(rows)} values are not finite")
    return values


def evaluate(rows: pandas.DataFrame, expression: str) -> Any:
    """Return the value of a pandas expression over the columns of ``rows``."""
    columns = sorted(names_in(ast.parse(expression, mode="eval")))
    require(columns, rows)
    try:
        return rows[columns].eval(expression, engine="python")  # pandas converts every column, so keep the few
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise EstimateUnavailable(f"'{expression}' cannot be computed: {error}") from error


def require(columns: Sequence[str], rows: pandas.DataFrame) -> None:
    """Raise EstimateUnavailable for a column that no row has."""
    for column in columns:
        if column not in rows:
            raise EstimateUnavailable(f"{column} was not measured{nearest(column, map(str, rows.columns))}")
