"""What profiles cost: ``default`` as measured in the results there are, ``paper`` estimated from it: ``make bench``.

    python scripts/bench_costs.py [OUTPUTS]

A cell of profile ``paper`` is taken to cost what those of ``default`` do, times the ratio of their work
(``grid.cost``) and of the rates of matrix products, and no cell to stop before its budget. On a GPU it is taken to be
as much faster as those rates are, but no step to take less than ``STEP``. Experiments without results are left out.
"""

from __future__ import annotations

import math
import sys

import timing
import torch

from src import config as configuration
from src import grid, records

GPU = {"float32": 20e12, "float64": 10e12}
"""Assumed of a GPU: operations a second that matrix products of these sizes reach."""
STEP = 2e-3
"""Assumed of a GPU: seconds of the smallest step."""
HEADER = ("experiment", "default, measured", "paper, estimated", "paper on a GPU, estimated")
UNITS = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (math.inf, 86400, "days"))


def main(outputs: str = "outputs") -> None:
    """Write the table of all experiments."""
    torch.set_num_threads(1)
    cpu = {dtype: timing.rate(dtype) for dtype in GPU}
    names = [name for paper in (1, 2, 3) for name in grid.experiments(paper)]
    table = [row for name in names if (row := costs(name, outputs, cpu))]
    timing.write("costs", [], outputs, HEADER, table)


def costs(name: str, outputs: str, cpu: dict[str, float]) -> tuple[str, ...] | None:
    """The line of one experiment, or None without results; ``cpu`` holds the rates of one core."""
    default, paper = (
        grid.expand([f"+experiment={name}", f"profile={size}", f"outputs={outputs}"]) for size in ("default", "paper")
    )
    there = [config for config in default if records.finished(configuration.folder(config))]
    if not there:
        return None
    seconds = sum(records.status(configuration.folder(config))["seconds"] for config in there)
    each = seconds / sum(grid.cost(config) / cpu[config["dtype"]] for config in there)
    core = sum(each * grid.cost(config) / cpu[config["dtype"]] for config in paper)
    gpu = sum(max(each * grid.cost(config) / GPU[config["dtype"]], config["steps"] * STEP) for config in paper)
    return name, f"{len(there)} cells, {told(seconds)}", f"{len(paper)} cells, {told(core)}", told(gpu)


def told(seconds: float) -> str:
    """In the unit one plans in.

    >>> told(90), told(9000), told(90000), told(1e7)
    ('1.5 min', '2.5 h', '25 h', '116 days')
    """
    each, unit = next((each, unit) for below, each, unit in UNITS if seconds < below)
    value = seconds / each
    return f"{value:.2g} {unit}" if value < 99.5 else f"{value:.0f} {unit}"


if __name__ == "__main__":
    main(*sys.argv[1:2])
