"""From the rows of the experiments to the verdict on every claim. No torch here.

The verdict on a part follows from its interval alone: ``reproduced`` when all of it meets the criterion,
``contradicted`` when none of it does, ``undecided`` when it straddles the bound. Before that, something can stand in
the way: no finished cell bears on it (``not run``); a column was not measured, a swept key has too few values, a cell
too few members, a value is not finite, too many members are unconverged (``undecided``). A claim is as good as its
worst part.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas

from src.allowed import Range, nearest
from src.claims_file import STATISTICS, Claim, Part, load, shown
from src.intervals import bootstrap, clopper_pearson, derived, log_log_slope

__all__ = ["judge", "load", "verdict_of"]

REPRODUCED, CONTRADICTED, UNDECIDED, NOT_RUN = "reproduced", "contradicted", "undecided", "not run"
TOLD = "told"
"""Of a number without criterion."""
WORST_FIRST = (CONTRADICTED, UNDECIDED, NOT_RUN, REPRODUCED, TOLD)
UNCONVERGED_ALLOWED = 0.1
"""Share of unconverged members a part may rest on; they stay in its number, which would else be a choice."""

OVER_MEMBERS = {
    "median": lambda columns: np.median(columns[0], -1),
    "mean": lambda columns: columns[0].mean(-1),
    "share": lambda columns: columns[0].mean(-1),
    "min": lambda columns: columns[0].min(-1),
    "max": lambda columns: columns[0].max(-1),
    "slope": log_log_slope,
}


class NoNumberError(Exception):
    """Why nothing can be said: the verdict that gives, and one sentence."""

    def __init__(self, verdict: str, reason: str):
        super().__init__(reason)
        self.verdict = verdict


def judge(claims: Sequence[Claim], frames: Mapping[str, pandas.DataFrame]) -> list[dict[str, Any]]:
    """The verdict on every claim.

    Args:
        claims: from :func:`load`.
        frames: experiment → frame of ``records.frame``; experiments that have not been run may be missing.

    Returns:
        Per claim ``{id, paper, statement, formula, source, experiment, published, says, criterion, estimate, low,
        high, n, converged, verdict, reason, cells, parts}``. The numbers are those of the part that decides: the
        first with the worst verdict. ``n`` counts members, ``converged`` is the share of them that did, ``reason``
        is one sentence, empty for a reproduced claim.
    """
    return [_judge_claim(claim, frames) for claim in claims]


def _judge_claim(claim: Claim, frames: Mapping[str, pandas.DataFrame]) -> dict[str, Any]:
    parts = [_judge_part(part, frames, (claim.id, index)) for index, part in enumerate(claim.parts)]
    counting = [record for record, part in zip(parts, claim.parts, strict=True) if part.criterion is not None]
    deciding = min(counting, key=lambda part: WORST_FIRST.index(part["verdict"]))
    verdict = deciding["verdict"]
    if verdict == NOT_RUN and any(part["verdict"] == REPRODUCED for part in counting):
        verdict = UNDECIDED
    numbers = {key: deciding[key] for key in ("says", "criterion", "estimate", "low", "high", "n", "converged")}
    reason = f"{deciding['says']}: {deciding['reason']}" if deciding["reason"] else ""
    return {
        "id": claim.id,
        "paper": claim.paper,
        "statement": claim.statement,
        "formula": claim.formula,
        "source": claim.source,
        "experiment": ", ".join(claim.experiments),
        "published": claim.published,
        **numbers,
        "verdict": verdict,
        "reason": reason,
        "cells": sorted({cell for part in parts for cell in part["cells"]}),
        "parts": parts,
    }


def verdict_of(low: float, high: float, criterion: Range | None) -> str:
    """What an interval says about a criterion.

    >>> bound = Range(high=0.5)
    >>> verdict_of(0.3, 0.5, bound), verdict_of(0.6, 0.7, bound), verdict_of(0.4, 0.6, bound)
    ('reproduced', 'contradicted', 'undecided')
    """
    if criterion is None:
        return TOLD
    if low in criterion and high in criterion:
        return REPRODUCED
    bottom = -np.inf if criterion.low is None else criterion.low
    top = np.inf if criterion.high is None else criterion.high
    return CONTRADICTED if high < bottom or low > top else UNDECIDED


def _judge_part(part: Part, frames: Mapping[str, pandas.DataFrame], role: tuple) -> dict[str, Any]:
    record = {
        "says": part.says,
        "experiment": ", ".join(part.experiments),
        "value": part.value,
        "statistic": part.statistic,
        "beside": part.beside,
        "where": part.where,
        "criterion": shown(part.criterion),
        "group": "",
        "estimate": None,
        "low": None,
        "high": None,
        "n": 0,
        "converged": None,
        "reason": "",
        "cells": [],
        "groups": [],
    }
    try:
        rows = _rows(part, frames)
        record["cells"] = sorted(rows["cell"].unique())
        groups = [(name, group) for name, group in rows.groupby(list(part.each))] if part.each else [((), rows)]
        found = [_judge_group(part, name, group, role) for name, group in groups]
    except NoNumberError as error:
        return record | {"verdict": error.verdict, "reason": str(error)}
    deciding = min(found, key=lambda group: (WORST_FIRST.index(group["verdict"]), _slack(group, part.criterion)))
    if deciding["verdict"] == REPRODUCED and (missing := _missing(part, frames)):
        deciding = deciding | {"verdict": UNDECIDED, "reason": f"{', '.join(missing)} has no finished cell"}
    return record | deciding | {"groups": found if part.each else []}


def _rows(part: Part, frames: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
    """The rows a part reads, marked ``versus`` where a ratio is relative to them."""
    missing = _missing(part, frames)
    if len(missing) == len(part.experiments):
        raise NoNumberError(NOT_RUN, f"{', '.join(missing)} has no finished cell")
    there = [frames[name] for name in part.experiments if name not in missing]
    whole = pandas.concat(there, ignore_index=True)
    if len(there) > 1:  # two experiments may share a cell: the same numbers under the same identity
        twins = whole.assign(cell=whole["cell"].str.rsplit("-").str[-1]).duplicated(["cell", "member", "step"])
        whole = whole[~twins]
    whole = whole.assign(cell=whole["experiment"] + "/" + whole["cell"])
    rows = _select(whole, part.where).assign(versus=False)
    if part.versus:
        rows = pandas.concat([rows, _select(whole, part.versus).assign(versus=True)], ignore_index=True)
    for column, needed in part.needs.items():
        _known([column], rows)
        if (count := rows[column].nunique()) < needed:
            raise NoNumberError(UNDECIDED, f"{count} value{'s' * (count != 1)} of {column}, {needed} needed")
    _known(part.each, rows)
    return rows


def _missing(part: Part, frames: Mapping[str, pandas.DataFrame]) -> list[str]:
    return [name for name in part.experiments if name not in frames or frames[name].empty]


def _select(rows: pandas.DataFrame, condition: str) -> pandas.DataFrame:
    selected = rows[_evaluate(rows, condition).astype(bool).to_numpy()]
    if selected.empty:
        raise NoNumberError(NOT_RUN, f"no finished cell with {condition}")
    return selected


def _judge_group(part: Part, name: tuple, rows: pandas.DataFrame, role: tuple) -> dict[str, Any]:
    """The number of one group with its interval, and what it says."""
    converged = float(rows["converged"].astype(bool).mean())
    group = ", ".join(f"{column} = {value}" for column, value in zip(part.each, name, strict=True))
    found = {"group": group, "n": len(rows), "converged": converged}
    try:
        estimate, low, high = _interval(part, rows, (*role, group))
    except NoNumberError as error:
        nothing = {"estimate": None, "low": None, "high": None}
        return found | nothing | {"verdict": error.verdict, "reason": str(error)}
    found |= {"estimate": estimate, "low": low, "high": high}
    if part.needs_converged and 1 - converged > UNCONVERGED_ALLOWED:
        lacking = round((1 - converged) * len(rows))
        reason = f"{lacking} of {len(rows)} members have not converged"
        return found | {"verdict": UNDECIDED, "reason": reason}
    verdict = verdict_of(low, high, part.criterion)
    inside = f"[{low:.4g}, {high:.4g}]" if low != high else f"{estimate:.4g}"
    place = f" for {found['group']}" if found["group"] else ""
    reason = {
        TOLD: "",
        REPRODUCED: "",
        CONTRADICTED: f"{inside} is not {shown(part.criterion)}{place}",
        UNDECIDED: f"the interval {inside} straddles the bound, {shown(part.criterion)}{place}",
    }[verdict]
    return found | {"verdict": verdict, "reason": reason}


def _interval(part: Part, rows: pandas.DataFrame, role: tuple) -> tuple[float, float, float]:
    """``(estimate, low, high)``; the worst member stands for itself, without an interval."""
    members = int(rows.groupby("cell")["member"].nunique().min())
    if members < part.members:
        raise NoNumberError(UNDECIDED, f"a cell has {members} member{'s' * (members != 1)}, {part.members} needed")
    value = _numbers(rows, part.value)
    if part.statistic in ("min", "max"):
        estimate = float(OVER_MEMBERS[part.statistic](value[None]))
        return estimate, estimate, estimate
    if rows.duplicated(["cell", "member", "versus"]).any():
        raise NoNumberError(UNDECIDED, f"'{part.where}' selects several steps of one member")
    if part.statistic == "rate":
        errors, points = int(value.sum()), int(_numbers(rows, part.of).sum())
        if not points:
            raise NoNumberError(UNDECIDED, f"{part.of} is 0")
        return errors / points, *clopper_pearson(errors, points)

    columns, statistic, cell = value[None], OVER_MEMBERS.get(part.statistic), list(rows["cell"])
    if part.statistic == "slope":
        columns = np.stack([value, _numbers(rows, part.against)])
        if (columns <= 0).any():
            raise NoNumberError(UNDECIDED, f"{int((columns <= 0).sum())} values are not positive, so have no logarithm")
    if part.statistic == "ratio":
        versus = rows["versus"].to_numpy()
        cell = list(zip(cell, versus, strict=True))

        def statistic(columns: np.ndarray) -> np.ndarray:  # resampling within cells leaves `versus` in its place
            return np.median(columns[0][..., ~versus], -1) / np.median(columns[0][..., versus], -1)

    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = float(statistic(columns))
    if not np.isfinite(estimate):
        raise NoNumberError(UNDECIDED, f"the {STATISTICS[part.statistic]} is not finite")
    low, high = bootstrap(statistic, columns, cell, derived(*role))
    if np.isnan(low):
        raise NoNumberError(UNDECIDED, "one member a cell: nothing says how seeds differ")
    return (estimate, *np.clip((low, high), 0, 1).tolist()) if part.statistic == "share" else (estimate, low, high)


def _numbers(rows: pandas.DataFrame, expression: str) -> np.ndarray:
    """The expression as floats; values that are not finite are counted and told, never averaged."""
    values = _evaluate(rows, expression)
    values = np.broadcast_to(np.asarray(values, dtype=float), len(rows))
    if lacking := int((~np.isfinite(values)).sum()):
        raise NoNumberError(UNDECIDED, f"{lacking} of {len(rows)} values are not finite")
    return values


def _evaluate(rows: pandas.DataFrame, expression: str) -> Any:
    names = [node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)]
    called = [node.func.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Call)]
    _known([name for name in names if name not in called], rows)
    try:
        return rows.eval(expression, engine="python")
    except (TypeError, ValueError) as error:
        raise NoNumberError(UNDECIDED, f"'{expression}' cannot be computed: {error}") from error


def _known(columns: Sequence[str], rows: pandas.DataFrame) -> None:
    for column in columns:
        if column not in rows:
            raise NoNumberError(UNDECIDED, f"{column} was not measured{nearest(column, map(str, rows.columns))}")


def _slack(group: dict[str, Any], criterion: Range | None) -> float:
    """How far the interval stays inside the criterion; negative by how far it leaves it."""
    if criterion is None or group["estimate"] is None:
        return 0.0
    below = np.inf if criterion.low is None else group["low"] - criterion.low
    above = np.inf if criterion.high is None else criterion.high - group["high"]
    return min(below, above)
