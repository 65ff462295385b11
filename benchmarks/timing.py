"""Time several ways to do the same work, and return the ratios of their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch.utils.benchmark import Timer


class Ratio(NamedTuple):
    """The time of one way to do the work of ``case`` over that of the baseline, which takes ``seconds``.

    ``series`` names both ways, "A over B"; the figure draws a series in one colour.
    """

    series: str
    case: str
    ratio: float
    seconds: float


def seconds(work: Callable[[], object], smoke: bool) -> float:
    """Return the median processor time of a call on one thread; other processes disturb it less than wall time."""
    timer = Timer("work()", globals={"work": work}, timer=time.process_time, num_threads=1)
    return timer.blocked_autorange(min_run_time=0.001 if smoke else 1.0).median


def ratios(
    case: str, baseline: Callable[[], object], others: Mapping[str, Callable[[], object]], smoke: bool
) -> list[Ratio]:
    """Return a ratio for each of ``others``, series → work."""
    base = seconds(baseline, smoke)
    return [Ratio(series, case, seconds(work, smoke) / base, base) for series, work in others.items()]
