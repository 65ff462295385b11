"""From the rows of the experiments to the verdict on every claim. No torch here.

The verdict on a part follows from its interval alone: ``reproduced`` if all of it meets the criterion,
``contradicted`` if none of it does, ``inconclusive`` if it straddles the bound. Where the worst of G groups decides,
``contradicted`` needs an interval of the level 1 − 0.05/G, as one of many groups may lie outside by chance. A part is
``not run`` if no finished cell has its rows. It is inconclusive if a column is missing, a swept key has too few values,
a cell has too few seeds, a value is not finite, or too many members are unconverged. If cells of an experiment are
missing, or members have no row where the others have one, nothing counts as reproduced: what is left may be biased. A
claim takes the verdict of its worst part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas

from src.claims.estimates import EstimateUnavailable, estimate, evaluate, require, rows_missing, select
from src.claims.intervals import LEVEL
from src.claims.results import OF_CHECKS, ClaimResult, GroupResult, NumberResult, Verdict
from src.claims.schema import WORST, Claim, Number, Part, load, shown
from src.constraints import Range

__all__ = ["informational", "judge", "judge_number", "load", "unjudged", "verdict_of"]

WORST_FIRST = (Verdict.CONTRADICTED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.REPRODUCED, Verdict.INFORMATIONAL)
DESCRIBED = ("id", "paper", "statement", "formula", "source", "published", "fails_if", "control", "check")
UNCONVERGED_ALLOWED = 0.1
"""Fraction of unconverged members a part may rest on; they are kept in the estimate to avoid selection bias."""
Outcome = dict[str, Any]
"""Fields of a result."""
JudgeNumber = Callable[[Number, Mapping[str, pandas.DataFrame], Mapping[str, int], tuple], NumberResult]
NONE_PLANNED: Mapping[str, int] = MappingProxyType({})


def judge_number(
    number: Number, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int], rng_key: tuple
) -> NumberResult:
    """Return the result of a number, as :func:`judge` does for those of its claims; ``rng_key`` seeds its bootstrap."""
    criterion = number.criterion if isinstance(number, Part) else None
    described = {key: getattr(number, key) for key in ("name", "statistic", "quantity", "companion", "rows")}
    described |= {"experiment": ", ".join(number.experiments), "criterion": shown(criterion)}
    missing = _cells_missing(number, frames, planned)
    cells: tuple[str, ...] = ()
    groups: list[GroupResult] = []
    try:
        all_rows = _all_rows(number, frames)
        rows = _rows(number, all_rows)
        at_each = [name for name in ("step", "matched") if name in number.group_by]
        for condition in filter(None, (number.rows, number.baseline)) if number.require_rows else ():
            missing += rows_missing(all_rows, condition, at_each)
        cells = tuple(sorted(rows["cell"].unique()))
        grouped = list(rows.groupby(list(number.group_by), dropna=False)) if number.group_by else [((), rows)]
        level = 1 - (1 - LEVEL) / len(grouped)
        groups = [_judge_group(number, values, group, rng_key, level) for values, group in grouped]
        result = min(groups, key=lambda group: (WORST_FIRST.index(group.verdict), _slack(group, criterion)))
    except EstimateUnavailable as error:
        result = GroupResult(statistic=number.statistic, **_unavailable(error, number))
    verdict = Verdict.INCONCLUSIVE if missing and result.verdict == Verdict.REPRODUCED else result.verdict
    reasons = [result.reason, *missing] if result.reason not in missing else missing
    outcome: Outcome = {"verdict": verdict, "reason": "; ".join(filter(None, reasons)), "cells": cells}
    outcome["groups"] = tuple(groups) if number.group_by else ()
    return NumberResult(**result.model_dump() | described | outcome)


def judge(
    claims: Sequence[Claim],
    frames: Mapping[str, pandas.DataFrame],
    planned: Mapping[str, int] = NONE_PLANNED,
    judge_number: JudgeNumber = judge_number,
) -> list[ClaimResult]:
    """Return the verdict on every claim.

    Args:
        claims: from :func:`load`.
        frames: experiment → frame of ``store.frame``; experiments that have not been run may be missing.
        planned: experiment → how many cells it has when all are finished; without it, as many as there are.
        judge_number: this, or one that remembers (``src/report/remembered.py``).
    """
    return [_judge_claim(claim, frames, planned, judge_number) for claim in claims]


def unjudged(result: ClaimResult, reason: str) -> ClaimResult:
    """Return the result with the verdict *not run* and ``reason``, and the same for all its numbers."""
    outcome = {"verdict": Verdict.NOT_RUN, "reason": reason}

    def unjudged_number(number: NumberResult) -> NumberResult:
        groups = tuple(group.model_copy(update=outcome) for group in number.groups)
        return number.model_copy(update=outcome | {"groups": groups})

    numbers = {key: tuple(map(unjudged_number, getattr(result, key))) for key in ("parts", "reports")}
    return result.model_copy(update=outcome | numbers)


def informational(
    number: Number, frames: Mapping[str, pandas.DataFrame], name: str, judge_number: JudgeNumber = judge_number
) -> NumberResult:
    """Return the result of a number without a criterion, outside of any claim; ``name`` seeds its bootstrap."""
    return judge_number(number, frames, NONE_PLANNED, (name,))


def _judge_claim(
    claim: Claim, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int], judge_number: JudgeNumber
) -> ClaimResult:
    numbers = []
    for index, number in enumerate(claim.numbers):
        rng_key = (claim.id, index if number.rng_key is None else number.rng_key)
        numbers.append(judge_number(number, frames, planned, rng_key))
    parts = tuple(numbers[: len(claim.parts)])
    deciding = min(parts, key=lambda part: WORST_FIRST.index(part.verdict))
    verdict = deciding.verdict
    if verdict == Verdict.NOT_RUN and any(part.verdict == Verdict.REPRODUCED for part in parts):
        verdict = Verdict.INCONCLUSIVE
    return ClaimResult(
        **{key: getattr(claim, key) for key in DESCRIBED},
        **{key: getattr(deciding, key) for key in ClaimResult.DECIDING},
        experiment=", ".join(claim.experiments),
        verdict=OF_CHECKS.get(verdict, verdict) if claim.check else verdict,
        cells=tuple(sorted({cell for number in numbers for cell in number.cells})),
        parts=parts,
        reports=tuple(numbers[len(claim.parts) :]),
    )


def verdict_of(low: float, high: float, criterion: Range) -> Verdict:
    """Return the verdict on an interval for a criterion.

    >>> bound = Range(high=0.5)
    >>> [str(verdict_of(*ends, bound)) for ends in ((0.3, 0.5), (0.6, 0.7), (0.4, 0.6))]
    ['reproduced', 'contradicted', 'inconclusive']
    """
    if low in criterion and high in criterion:
        return Verdict.REPRODUCED
    bottom = -math.inf if criterion.low is None else criterion.low
    top = math.inf if criterion.high is None else criterion.high
    return Verdict.CONTRADICTED if high < bottom or low > top else Verdict.INCONCLUSIVE


def _cells_missing(number: Number, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int]) -> list[str]:
    """Return one sentence for every experiment of the number with missing cells."""
    sentences = []
    for name in number.experiments:
        finished = frames[name]["cell"].nunique() if name in frames and not frames[name].empty else 0
        if not finished:
            sentences.append(f"{name} has no finished cell")
        elif missing := max(planned.get(name, 0) - finished, 0):
            sentences.append(f"{missing} of {planned[name]} cells of {name} {'is' if missing == 1 else 'are'} missing")
    return sentences


def _all_rows(number: Number, frames: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
    """Return all rows of the number's experiments, without duplicates of shared cells."""
    finished = [frames[name] for name in number.experiments if name in frames and not frames[name].empty]
    if not finished:
        raise EstimateUnavailable(f"{number.experiments[0]} has no finished cell", run=False)
    rows = pandas.concat(finished, ignore_index=True)
    # Two experiments may share a cell: the same numbers under the same identity.
    moment = ["step", *rows.columns.intersection(["matched"])]
    identity = rows["cell"].map({cell: cell.rsplit("-", 1)[-1] for cell in rows["cell"].unique()})
    rows = rows[~rows[["member", *moment]].assign(cell=identity).duplicated()]
    if rows.duplicated(["experiment", "cell", "seed", *moment]).any():
        raise EstimateUnavailable("a cell has duplicate seeds, so its networks are not replicates")
    return rows.assign(cell=rows["experiment"] + "/" + rows["cell"])


def _rows(number: Number, all_rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows that a number selects, with the column ``is_baseline``."""
    rows = select(all_rows, number.rows).assign(is_baseline=False)
    if number.baseline:
        baseline = select(all_rows, number.baseline).assign(is_baseline=True)
        rows = pandas.concat([rows, baseline], ignore_index=True)
    for column, needed in number.min_distinct.items():
        require([column], rows)
        if (count := rows[column].nunique()) < needed:
            raise EstimateUnavailable(f"{count} value{'s' * (count != 1)} of {column}, {needed} needed")
    require(number.group_by, rows)
    return rows


def _judge_group(number: Number, values: tuple, rows: pandas.DataFrame, rng_key: tuple, level: float) -> GroupResult:
    """Return the estimate, interval and verdict of one group; ``level`` is that of the interval that contradicts."""
    group = ", ".join(f"{column} = {value}" for column, value in zip(number.group_by, values, strict=True))
    known: Outcome = {"group": group, "statistic": number.statistic, "n": len(rows)}
    try:
        converged = evaluate(rows, number.converged).astype(bool)
        known["converged"] = float(converged.mean())
        value, low, high, by_seed = estimate(number, rows, (*rng_key, group))
    except EstimateUnavailable as error:
        return GroupResult(**known, **_unavailable(error, number))
    known["estimate"] = value
    if finite := math.isfinite(low) and math.isfinite(high):
        known |= {"low": low, "high": high}
    if not isinstance(number, Part):
        return GroupResult(**known, verdict=Verdict.INFORMATIONAL)
    if by_seed:
        known |= {"seeds": len(by_seed), "seeds_held": sum(worst in number.criterion for worst in by_seed)}
    seeds = int(rows.groupby("cell")["seed"].nunique().min())
    if seeds < number.min_seeds:
        reason = f"a cell has {seeds} seed{'s' * (seeds != 1)}, {number.min_seeds} needed"
    elif not finite:
        reason = "one seed per cell: the spread over seeds is unknown" if seeds == 1 else "the interval is not finite"
    elif number.require_converged and (~converged).mean() > UNCONVERGED_ALLOWED:
        reason = f"{(~converged).sum()} of {len(rows)} members have not converged"
    else:
        ends = (value, value) if number.statistic in WORST else (low, high)
        compared = _compared(*ends, number.criterion, f" for {group}" if group else "")
        if compared["verdict"] == Verdict.CONTRADICTED and number.statistic not in WORST and level > LEVEL:
            simultaneous = estimate(number, rows, (*rng_key, group), level)
            if verdict_of(simultaneous.low, simultaneous.high, number.criterion) != Verdict.CONTRADICTED:
                reason = f"{compared['reason']}, which may be chance in the worst of several groups"
                compared = {"verdict": Verdict.INCONCLUSIVE, "reason": reason}
        return GroupResult(**known, **compared)
    return GroupResult(**known, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _compared(low: float, high: float, criterion: Range, place: str) -> Outcome:
    inside = f"{low:.4g}" if low == high else f"[{low:.4g}, {high:.4g}]"
    verdict = verdict_of(low, high, criterion)
    reasons = {
        Verdict.REPRODUCED: "",
        Verdict.CONTRADICTED: f"{inside} is not {shown(criterion)}{place}",
        Verdict.INCONCLUSIVE: f"the interval {inside} straddles the bound, {shown(criterion)}{place}",
    }
    return {"verdict": verdict, "reason": reasons[verdict]}


def _unavailable(error: EstimateUnavailable, number: Number) -> Outcome:
    verdict = (
        Verdict.INFORMATIONAL
        if not isinstance(number, Part)
        else Verdict.INCONCLUSIVE
        if error.run
        else Verdict.NOT_RUN
    )
    return {"verdict": verdict, "reason": str(error)}


def _slack(group: GroupResult, criterion: Range | None) -> float:
    """Return the smallest distance from the interval to the ends of the criterion; negative outside of it."""
    if criterion is None or group.estimate is None:
        return 0.0
    low, high = (group.estimate if end is None else end for end in (group.low, group.high))
    below = math.inf if criterion.low is None else low - criterion.low
    above = math.inf if criterion.high is None else criterion.high - high
    return min(below, above)
