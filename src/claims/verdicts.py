"""From the rows of the experiments to the verdict on every claim. No torch here.

The verdict on a part follows from its interval alone: ``reproduced`` when all of it meets the criterion,
``contradicted`` when none of it does, ``undecided`` when it straddles the bound. Before that, something can stand in
the way: no finished cell bears on it (``not run``); a column was not measured, a swept key has too few values, a cell
too few seeds, a value is not finite, too many members are unconverged (``undecided``). Of an experiment of which cells
are missing, or a row where the others have one, nothing counts as reproduced: what is left may be what went well. A
claim is as good as its worst part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas

from src.claims.estimates import NoNumberError, estimate, evaluate, require, select, unseen
from src.claims.schema import WORST, Claim, Part, load, shown
from src.constraints import Range

__all__ = ["judge", "load", "told", "unjudged", "verdict_of"]

REPRODUCED, CONTRADICTED, UNDECIDED, NOT_RUN = "reproduced", "contradicted", "undecided", "not run"
TOLD = "told"
"""Of a number without criterion."""
WORST_FIRST = (CONTRADICTED, UNDECIDED, NOT_RUN, REPRODUCED, TOLD)
UNCONVERGED_ALLOWED = 0.1
"""Share of unconverged members a part may rest on; they stay in its number, which would else be a choice."""


def judge(
    claims: Sequence[Claim],
    frames: Mapping[str, pandas.DataFrame],
    planned: Mapping[str, int] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The verdict on every claim.

    Args:
        claims: from :func:`load`.
        frames: experiment → frame of ``store.frame``; experiments that have not been run may be missing.
        planned: experiment → how many cells it has when all are finished; without it, as many as there are.

    Returns:
        Per claim ``{id, paper, statement, formula, source, experiment, published, says, criterion, estimate, low,
        high, n, converged, statistic, verdict, reason, cells, parts}``. The numbers are those of the part that
        decides: the first with the worst verdict. ``n`` counts members, ``converged`` is the share of them that did,
        ``reason`` is empty for a reproduced claim.
    """
    return [_judge_claim(claim, frames, planned) for claim in claims]


def unjudged(record: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """A record of :func:`judge` with all its numbers and, for the ``reason`` given, no verdict on any of them."""
    plain = {"verdict": NOT_RUN, "reason": reason}
    parts = [part | plain | {"groups": [group | plain for group in part["groups"]]} for part in record["parts"]]
    return dict(record) | plain | {"parts": parts}


def told(part: Part, frames: Mapping[str, pandas.DataFrame], name: str) -> dict[str, Any]:
    """The record of a number that stands alone and is not judged, as those in ``parts`` of :func:`judge`."""
    return _judge_part(part, frames, {}, (name,))


def _judge_claim(claim: Claim, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int]) -> dict[str, Any]:
    parts = [_judge_part(part, frames, planned, (claim.id, index)) for index, part in enumerate(claim.parts)]
    counting = [record for record, part in zip(parts, claim.parts, strict=True) if part.criterion is not None]
    deciding = min(counting, key=lambda part: WORST_FIRST.index(part["verdict"]))
    verdict = deciding["verdict"]
    if verdict == NOT_RUN and any(part["verdict"] == REPRODUCED for part in counting):
        verdict = UNDECIDED
    shared = ("says", "criterion", "estimate", "low", "high", "n", "converged", "statistic", "reason")
    return {
        "id": claim.id,
        "paper": claim.paper,
        "statement": claim.statement,
        "formula": claim.formula,
        "source": claim.source,
        "experiment": ", ".join(claim.experiments),
        "published": claim.published,
        **{key: deciding[key] for key in shared},
        "verdict": verdict,
        "cells": sorted({cell for part in parts for cell in part["cells"]}),
        "parts": parts,
    }


def verdict_of(low: float, high: float, criterion: Range) -> str:
    """What an interval says about a criterion.

    >>> bound = Range(high=0.5)
    >>> verdict_of(0.3, 0.5, bound), verdict_of(0.6, 0.7, bound), verdict_of(0.4, 0.6, bound)
    ('reproduced', 'contradicted', 'undecided')
    """
    if low in criterion and high in criterion:
        return REPRODUCED
    bottom = -math.inf if criterion.low is None else criterion.low
    top = math.inf if criterion.high is None else criterion.high
    return CONTRADICTED if high < bottom or low > top else UNDECIDED


def _judge_part(
    part: Part, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int], role: tuple
) -> dict[str, Any]:
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
    lacking = _missing(part, frames, planned)
    try:
        whole = _whole(part, frames)
        rows = _rows(part, whole)
        for condition in filter(None, (part.where, part.versus)):
            lacking += unseen(whole, condition, at_each_step="step" in part.each)
        record["cells"] = sorted(rows["cell"].unique())
        groups = list(rows.groupby(list(part.each), dropna=False)) if part.each else [((), rows)]
        found = [_judge_group(part, name, group, role) for name, group in groups]
    except NoNumberError as error:
        return _incomplete(record | _without_number(error, part), lacking)
    deciding = min(found, key=lambda group: (WORST_FIRST.index(group["verdict"]), _slack(group, part.criterion)))
    return _incomplete(record | deciding, lacking) | {"groups": found if part.each else []}


def _missing(part: Part, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int]) -> list[str]:
    """One sentence for every experiment of the part of which cells are missing."""
    told = []
    for name in part.experiments:
        there = frames[name]["cell"].nunique() if name in frames and not frames[name].empty else 0
        if not there:
            told.append(f"{name} has no finished cell")
        elif missing := max(planned.get(name, 0) - there, 0):
            told.append(f"{missing} of {planned[name]} cells of {name} {'is' if missing == 1 else 'are'} missing")
    return told


def _incomplete(record: dict[str, Any], lacking: Sequence[str]) -> dict[str, Any]:
    """The record, at best undecided if something is lacking, with what that is."""
    reasons = [record["reason"], *lacking] if record["reason"] not in lacking else lacking
    verdict = UNDECIDED if lacking and record["verdict"] == REPRODUCED else record["verdict"]
    return record | {"verdict": verdict, "reason": "; ".join(filter(None, reasons))}


def _whole(part: Part, frames: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
    """All rows of the part's experiments, each network once."""
    there = [frames[name] for name in part.experiments if name in frames and not frames[name].empty]
    if not there:
        raise NoNumberError(f"{part.experiments[0]} has no finished cell", run=False)
    whole = pandas.concat(there, ignore_index=True)
    # Two experiments may share a cell: the same numbers under the same identity.
    identity = whole["cell"].str.rsplit("-").str[-1]
    whole = whole[~whole.assign(cell=identity).duplicated(["cell", "member", "step"])]
    if whole.duplicated(["experiment", "cell", "seed", "step"]).any():
        raise NoNumberError("a cell has a seed twice: its networks are no replicates")
    return whole.assign(cell=whole["experiment"] + "/" + whole["cell"])


def _rows(part: Part, whole: pandas.DataFrame) -> pandas.DataFrame:
    """The rows a part reads, marked ``versus`` where a ratio is relative to them."""
    rows = select(whole, part.where).assign(versus=False)
    if part.versus:
        rows = pandas.concat([rows, select(whole, part.versus).assign(versus=True)], ignore_index=True)
    for column, needed in part.needs.items():
        require([column], rows)
        if (count := rows[column].nunique()) < needed:
            raise NoNumberError(f"{count} value{'s' * (count != 1)} of {column}, {needed} needed")
    require(part.each, rows)
    return rows


def _judge_group(part: Part, name: tuple, rows: pandas.DataFrame, role: tuple) -> dict[str, Any]:
    """The number of one group with its interval, and what it says."""
    group = ", ".join(f"{column} = {value}" for column, value in zip(part.each, name, strict=True))
    found = {"group": group, "statistic": part.statistic, "n": len(rows)}
    found |= dict.fromkeys(("converged", "estimate", "low", "high"))
    try:
        converged = evaluate(rows, part.converged).astype(bool)
        found["converged"] = float(converged.mean())
        value, low, high = estimate(part, rows, (*role, group))
    except NoNumberError as error:
        return found | _without_number(error, part)
    known = math.isfinite(low) and math.isfinite(high)
    found |= {"estimate": value} | ({"low": low, "high": high} if known else {})
    if part.criterion is None:
        return found | {"verdict": TOLD, "reason": ""}
    seeds = int(rows.groupby("cell")["seed"].nunique().min())
    if seeds < part.members:
        reason = f"a cell has {seeds} seed{'s' * (seeds != 1)}, {part.members} needed"
    elif not known:
        reason = "one seed a cell: nothing says how seeds differ" if seeds == 1 else "the interval is not finite"
    elif part.needs_converged and (~converged).mean() > UNCONVERGED_ALLOWED:
        reason = f"{(~converged).sum()} of {len(rows)} members have not converged"
    else:
        ends = (value, value) if part.statistic in WORST else (low, high)
        return found | _compared(*ends, part.criterion, f" for {group}" if group else "")
    return found | {"verdict": UNDECIDED, "reason": reason}


def _compared(low: float, high: float, criterion: Range, place: str) -> dict[str, str]:
    inside = f"{low:.4g}" if low == high else f"[{low:.4g}, {high:.4g}]"
    verdict = verdict_of(low, high, criterion)
    reasons = {
        REPRODUCED: "",
        CONTRADICTED: f"{inside} is not {shown(criterion)}{place}",
        UNDECIDED: f"the interval {inside} straddles the bound, {shown(criterion)}{place}",
    }
    return {"verdict": verdict, "reason": reasons[verdict]}


def _without_number(error: NoNumberError, part: Part) -> dict[str, str]:
    verdict = TOLD if part.criterion is None else UNDECIDED if error.run else NOT_RUN
    return {"verdict": verdict, "reason": str(error)}


def _slack(group: dict[str, Any], criterion: Range | None) -> float:
    """How far the interval stays inside the criterion; negative by how far it leaves it."""
    if criterion is None or group["estimate"] is None:
        return 0.0
    low, high = (group["estimate"] if group[end] is None else group[end] for end in ("low", "high"))
    below = math.inf if criterion.low is None else low - criterion.low
    above = math.inf if criterion.high is None else criterion.high - high
    return min(below, above)
