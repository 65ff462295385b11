"""What profiles cost: ``default`` as measured in the results there are, ``paper`` estimated from it: ``make bench``.

A cell of profile ``paper`` is taken to cost what those of ``default`` do, times the ratio of their work
(``sweep.cost``) and of the rates of matrix products, and no cell to stop before its budget. On a GPU it is taken to be
as much faster as those rates are, but no step to take less than ``STEP``. Experiments without results are left out.
Beside what ``default`` took stand the shares of it that measuring and recording took: only the end may need much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timing
import torch

from src.config import schema, sweep
from src.results import store

GPU = {"float32": 20e12, "float64": 10e12}
"""Assumed of a GPU: operations a second that matrix products of these sizes reach."""
STEP = 2e-3
"""Assumed of a GPU: seconds of the smallest step."""
HEADER = (
    "experiment", "default, measured", "of it measuring on the way", "and at the end",
    "paper, estimated", "paper on a GPU, estimated",
)  # fmt: skip
UNITS = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (math.inf, 86400, "days"))


def main(outputs: Path) -> None:
    """Write the table of all experiments, and a line of what they took together."""
    torch.set_num_threads(1)
    cpu = {dtype: timing.rate(dtype) for dtype in GPU}
    rows, ends = [], []
    for name in (name for paper in (1, 2, 3) for name in sweep.experiments(paper)):
        default, paper = (
            sweep.expand([f"+experiment={name}", f"profile={size}", f"outputs={outputs}"])
            for size in ("default", "paper")
        )
        folders = {schema.folder(config): config for config in default}
        there = {folder: config for folder, config in folders.items() if store.finished(folder)}
        if there:
            ends.append([store.status(folder) for folder in there])
            rows.append((name, *taken(ends[-1]), *estimated(ends[-1], list(there.values()), paper, cpu)))
    together = ("all", *taken([end for own in ends for end in own]), "", "")
    timing.write("costs", [], outputs, HEADER, [*rows, together])


def taken(ends: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """What cells took, by how they ended, and the shares of measuring."""
    seconds, *measuring = (sum(end[what] for end in ends) for what in ("seconds", "on_the_way", "at_the_end"))
    return f"{len(ends)} cells, {told(seconds)}", *(f"{100 * part / seconds:.1f} %" for part in measuring)


def estimated(
    ends: Sequence[Mapping[str, Any]],
    default: Sequence[Mapping[str, Any]],
    paper: Sequence[Mapping[str, Any]],
    cpu: Mapping[str, float],
) -> tuple[str, str]:
    """What the cells of profile ``paper`` would take on a core, and on a GPU; ``cpu`` holds the rates of a core."""

    def work(config: Mapping[str, Any]) -> float:
        return sweep.cost(config) / cpu[config["dtype"]]

    each = sum(end["seconds"] for end in ends) / sum(map(work, default))
    core = sum(each * work(config) for config in paper)
    gpu = sum(max(each * sweep.cost(config) / GPU[config["dtype"]], config["steps"] * STEP) for config in paper)
    return f"{len(paper)} cells, {told(core)}", told(gpu)


def told(seconds: float) -> str:
    """In the unit one plans in.

    >>> told(90), told(9000), told(90000), told(1e7)
    ('1.5 min', '2.5 h', '25 h', '116 days')
    """
    each, unit = next((each, unit) for below, each, unit in UNITS if seconds < below)
    value = seconds / each
    return f"{value:.2g} {unit}" if value < 99.5 else f"{value:.0f} {unit}"


if __name__ == "__main__":
    timing.run("costs", "Tell what profiles cost: default as measured in the results, paper estimated.", main)
