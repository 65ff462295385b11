"""The number a part of a claim names, with its interval, from the rows of experiments. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas

from src.allowed import nearest
from src.claims_file import STATISTICS, Part
from src.intervals import bootstrap, clopper_pearson, derived, log_log_slope

OVER_MEMBERS = {
    "median": lambda columns: np.median(columns[0], -1),
    "mean": lambda columns: columns[0].mean(-1),
    "share": lambda columns: columns[0].mean(-1),
    "min": lambda columns: columns[0].min(-1),
    "max": lambda columns: columns[0].max(-1),
    "slope": log_log_slope,
}


class Estimate(NamedTuple):
    """A number with its 95 % interval; an end is NaN when one member a cell leaves it unknown."""

    value: float
    low: float
    high: float


class NoNumberError(Exception):
    """Why there is no number, in one sentence. ``run`` is False when no finished cell bears on it."""

    def __init__(self, reason: str, run: bool = True):
        super().__init__(reason)
        self.run = run


def estimate(part: Part, rows: pandas.DataFrame, role: tuple) -> Estimate:
    """The part's statistic of ``rows`` (one row a member). The worst member stands for itself, without an interval.

    ``role`` names the number: its resamples are derived from it.

    Raises:
        NoNumberError: for a column that is missing, or values without the statistic.
    """
    value = numbers(rows, part.value)
    if part.statistic in ("min", "max"):
        worst = float(OVER_MEMBERS[part.statistic](value[None]))
        return Estimate(worst, worst, worst)
    if part.statistic in ("lead", "clearance"):
        worst = _lead(rows, value, of="max" if part.statistic == "lead" else "min")
        return Estimate(worst, worst, worst)
    if rows.duplicated(["cell", "member", "versus"]).any():
        raise NoNumberError(f"'{part.where}' selects several steps of one member")
    if part.statistic == "rate":
        errors, points = int(value.sum()), int(numbers(rows, part.of).sum())
        if not points:
            raise NoNumberError(f"{part.of} is 0")
        return Estimate(errors / points, *clopper_pearson(errors, points))

    columns, statistic, cell = value[None], OVER_MEMBERS.get(part.statistic), list(rows["cell"])
    if part.statistic == "paired":
        own, others = _by_seed(rows, value, "mean", "mean")
        columns, statistic, cell = (own / others).to_numpy()[None], OVER_MEMBERS["median"], ["seeds"] * len(own)
    if part.statistic == "slope":
        columns = np.stack([value, numbers(rows, part.against)])
        if lacking := int((columns <= 0).sum()):
            raise NoNumberError(f"{lacking} values are not positive, so have no logarithm")
    if part.statistic == "ratio":
        versus = rows["versus"].to_numpy()
        cell = list(zip(cell, versus, strict=True))

        def statistic(columns: np.ndarray) -> np.ndarray:  # resampling within cells leaves `versus` in its place
            return np.median(columns[0][..., ~versus], -1) / np.median(columns[0][..., versus], -1)

    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(statistic(columns))
    if not np.isfinite(centre):
        raise NoNumberError(f"the {STATISTICS[part.statistic]} is not finite")
    low, high = bootstrap(statistic, columns, cell, derived(*role))
    if part.statistic == "share":
        low, high = np.clip((low, high), 0, 1).tolist()
    return Estimate(centre, low, high)


def _lead(rows: pandas.DataFrame, value: np.ndarray, of: str) -> float:
    """Best (``of="max"``) or worst of the rows over the best of those they are compared with, in the worst seed."""
    own, others = _by_seed(rows, value, of, "max")
    leads = (own / others).where(others > 0, np.inf)
    if not np.isfinite(worst := float(leads.where(own > 0, 0).min())):
        raise NoNumberError("none of the others is positive")
    return worst


def _by_seed(
    rows: pandas.DataFrame, value: np.ndarray, of: str, of_others: str
) -> tuple[pandas.Series, pandas.Series]:
    """One number for each seed from the rows, and one from the rows they are compared with."""
    grouped = rows.assign(value=value).groupby(["versus", "seed"])["value"]
    own, others = grouped.agg(of).get(False), grouped.agg(of_others).get(True)
    if own is None or others is None or set(own.index) != set(others.index):
        raise NoNumberError("a seed has nothing to compare with")
    return own, others


def select(rows: pandas.DataFrame, condition: str) -> pandas.DataFrame:
    """The rows for which a condition over columns holds.

    Raises:
        NoNumberError: when there are none, or the condition cannot be computed.
    """
    selected = rows[evaluate(rows, condition).astype(bool).to_numpy()]
    if selected.empty:
        raise NoNumberError(f"no finished cell with {condition}", run=False)
    return selected


def numbers(rows: pandas.DataFrame, expression: str) -> np.ndarray:
    """The expression as floats, one a row; values that are not finite are counted and told, never averaged."""
    values = np.broadcast_to(np.asarray(evaluate(rows, expression), dtype=float), len(rows))
    if lacking := int((~np.isfinite(values)).sum()):
        raise NoNumberError(f"{lacking} of {len(rows)} values are not finite")
    return values


def evaluate(rows: pandas.DataFrame, expression: str) -> Any:
    """A pandas expression over the columns of ``rows``."""
    nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    require([node.id for node in nodes if isinstance(node, ast.Name) and node.id not in called], rows)
    try:
        return rows.eval(expression, engine="python")
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise NoNumberError(f"'{expression}' cannot be computed: {error}") from error


def require(columns: Sequence[str], rows: pandas.DataFrame) -> None:
    """Raise NoNumberError for a column that no row has."""
    for column in columns:
        if column not in rows:
            raise NoNumberError(f"{column} was not measured{nearest(column, map(str, rows.columns))}")
