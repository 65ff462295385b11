"""The number a part of a claim names, with its interval, from the rows of experiments. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas

from src.claims.intervals import bootstrap, clopper_pearson, derived, line_intercept, line_r2, log_log_slope
from src.claims.schema import STATISTICS, WORST, Part
from src.errors import nearest

OVER_MEMBERS = {
    "median": lambda columns: np.median(columns[0], -1),
    "mean": lambda columns: columns[0].mean(-1),
    "slope": log_log_slope,
    "r2": line_r2,
    "intercept": line_intercept,
}


RATIOS = ("ratio", "paired")
"""Statistics whose interval is that of their logarithm, where all numbers are positive."""
LARGEST = {"r2": 1.0}
"""What a statistic cannot exceed, though the widened interval of a bootstrap can."""


class Estimate(NamedTuple):
    """A number with its 95 % interval, or of ``WORST`` with its range over seeds; NaN ends are not known."""

    value: float
    low: float
    high: float


class NoNumberError(Exception):
    """Why there is no number, in one sentence. ``run`` is False when no finished cell bears on it."""

    def __init__(self, reason: str, run: bool = True):
        super().__init__(reason)
        self.run = run


def estimate(part: Part, rows: pandas.DataFrame, role: tuple) -> Estimate:
    """The part's statistic of ``rows`` (one row a member).

    A rate and a share have exact bounds; the members of one seed count as one trial of a share, since they resemble
    each other. The worst member is a fact about the networks at hand, no inference: its ends are the range over seeds
    of the worst of each, and another seed is no worse with probability n/(n + 1) for n seeds. ``role`` names the
    number: its resamples are derived from it.

    Raises:
        NoNumberError: for a column that is missing, or values without the statistic.
    """
    value = numbers(rows, part.value)
    if part.statistic in WORST:
        return _worst(part.statistic, rows, value)
    if rows.duplicated(["cell", "member", "versus"]).any():
        raise NoNumberError(f"'{part.where}' selects several steps of one member")
    if part.statistic == "rate":
        errors, points = value.sum(), numbers(rows, part.of).sum()
        if not points:
            raise NoNumberError(f"{part.of} is 0")
        return Estimate(float(errors / points), *clopper_pearson(errors, points))
    if part.statistic == "share":
        share, seeds = value.mean(), rows["seed"].nunique()
        return Estimate(float(share), *clopper_pearson(share * seeds, seeds))

    columns, statistic = value[None], OVER_MEMBERS.get(part.statistic)
    cell, seed = list(zip(rows["cell"], rows["versus"], strict=True)), rows["seed"]
    if part.statistic == "paired":
        own, others = _by_seed(rows, value, "mean", "mean")
        columns, statistic = (own / others).to_numpy()[None], OVER_MEMBERS["median"]
        cell, seed = ["all"] * len(own), own.index
    if part.against is not None:
        columns = np.stack([value, numbers(rows, part.against)])
    if part.statistic == "slope" and (lacking := int((columns <= 0).sum())):
        raise NoNumberError(f"{lacking} values are not positive, so have no logarithm")
    if part.statistic == "ratio":
        versus = rows["versus"].to_numpy()

        def statistic(columns: np.ndarray) -> np.ndarray:  # resampling within cells leaves `versus` in its place
            return np.median(columns[0][..., ~versus], -1) / np.median(columns[0][..., versus], -1)

    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(statistic(columns))
    if not np.isfinite(centre):
        raise NoNumberError(f"the {STATISTICS[part.statistic]} is not finite")
    with np.errstate(divide="ignore", invalid="ignore"):
        if part.statistic in RATIOS and (columns > 0).all():  # a ratio and its inverse then say the same
            low, high = np.exp(bootstrap(lambda some: np.log(statistic(some)), columns, cell, seed, derived(*role)))
        else:
            low, high = bootstrap(statistic, columns, cell, seed, derived(*role))
    return Estimate(centre, float(low), min(float(high), LARGEST.get(part.statistic, np.inf)))


def _worst(statistic: str, rows: pandas.DataFrame, value: np.ndarray) -> Estimate:
    if statistic in ("min", "max"):
        of_seeds = pandas.Series(value).groupby(rows["seed"].to_numpy()).agg(statistic)
    else:  # best (lead) or worst (clearance) of the rows over the best of those they are compared with
        own, others = _by_seed(rows, value, "max" if statistic == "lead" else "min", "max")
        of_seeds = (own / others).where(others > 0, np.inf).where(own > 0, 0)
        of_seeds = of_seeds[np.isfinite(of_seeds)]
        if of_seeds.empty:
            raise NoNumberError("none of the others is positive")
    low, high = float(of_seeds.min()), float(of_seeds.max())
    return Estimate(high if statistic == "max" else low, low, high)


def _by_seed(rows: pandas.DataFrame, value: np.ndarray, of: str, of_others: str) -> tuple[pandas.Series, pandas.Series]:
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


def unseen(rows: pandas.DataFrame, condition: str, *, at_each_step: bool = False) -> list[str]:
    """A sentence if members lack a row where the condition looks for one; otherwise nothing.

    Its terms on ``final``, ``step`` and ``steps`` say when to look, those on columns that are constant in a cell say
    where. A condition on anything else chooses members by what they did, so that some are left out on purpose.
    """
    terms = ast.parse(condition, mode="eval").body
    terms = terms.values if isinstance(terms, ast.BoolOp) and isinstance(terms.op, ast.And) else [terms]
    where = [ast.unparse(term) for term in terms if not _columns(term) <= {"final", "step", "steps"}]
    chosen = select(rows, " and ".join(f"({term})" for term in where)) if where else rows
    columns = sorted(set().union(*(_columns(ast.parse(term)) for term in where)))
    if columns and (rows.groupby("cell")[columns].nunique(dropna=False) > 1).any(axis=None):
        return []
    members = set(zip(chosen["cell"], chosen["member"], strict=True))
    seen = select(chosen, condition)
    looks = [look for _, look in seen.groupby("step")] if at_each_step else [seen]
    lacking = set().union(*(members - set(zip(look["cell"], look["member"], strict=True)) for look in looks))
    return [f"{len(lacking)} of {len(members)} members have no row with {condition}"] if lacking else []


def numbers(rows: pandas.DataFrame, expression: str) -> np.ndarray:
    """The expression as floats, one a row; values that are not finite are counted and told, never averaged."""
    values = np.broadcast_to(np.asarray(evaluate(rows, expression), dtype=float), len(rows))
    if lacking := int((~np.isfinite(values)).sum()):
        raise NoNumberError(f"{lacking} of {len(rows)} values are not finite")
    return values


def evaluate(rows: pandas.DataFrame, expression: str) -> Any:
    """A pandas expression over the columns of ``rows``."""
    require(sorted(_columns(ast.parse(expression, mode="eval"))), rows)
    try:
        return rows.eval(expression, engine="python")
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise NoNumberError(f"'{expression}' cannot be computed: {error}") from error


def _columns(tree: ast.AST) -> set[str]:
    """The names in an expression, without those of functions."""
    nodes = list(ast.walk(tree))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - called


def require(columns: Sequence[str], rows: pandas.DataFrame) -> None:
    """Raise NoNumberError for a column that no row has."""
    for column in columns:
        if column not in rows:
            raise NoNumberError(f"{column} was not measured{nearest(column, map(str, rows.columns))}")
