"""What profiles cost: ``default`` as measured in the results there are, ``paper`` estimated from it: ``make bench``.

    python scripts/bench_costs.py [outputs=outputs]

A cell of profile ``paper`` is taken to cost what those of ``default`` do, times the ratio of their work
(``grid.cost``), and no cell to stop before its budget. On a GPU it is taken to be as much faster as its matrix products
are, but no step to take less than ``STEP``. Experiments without results are left out.
"""

from __future__ import annotations

import sys

import timing

from src import config as configuration
from src import grid, records

GPU, STEP = 20e12, 2e-3
"""Assumed of a GPU: float32 operations a second that matrix products of this size reach; seconds of a small step."""
HEADER = ("experiment", "default, measured", "paper, estimated", f"paper on a GPU of {GPU / 1e12:g} TFLOP/s, estimated")


def main(words: list[str]) -> None:
    """Write the table of all experiments."""
    rate = next(row["value"] for row in timing.machine() if "float32" in row["what"]) * 1e9
    names = [name for paper in (1, 2, 3) for name in grid.experiments(paper)]
    rows = [row for name in names if (row := costs(name, words, rate))]
    timing.write("costs", [], *(word.removeprefix("outputs=") for word in words), header=HEADER, table=rows)


def costs(name: str, words: list[str], rate: float) -> tuple[str, ...] | None:
    """The line of one experiment, or None without results."""
    default, paper = (grid.expand([f"+experiment={name}", f"profile={size}", *words]) for size in ("default", "paper"))
    there = [config for config in default if records.finished(configuration.folder(config))]
    if not there:
        return None
    seconds = sum(records.status(configuration.folder(config))["seconds"] for config in there)
    work = seconds / sum(map(grid.cost, there))
    core = work * sum(map(grid.cost, paper))
    gpu = sum(max(work * grid.cost(config) * rate / GPU, config["steps"] * STEP) for config in paper)
    return name, f"{len(there)} cells, {told(seconds)}", f"{len(paper)} cells, {told(core)}", told(gpu)


def told(seconds: float) -> str:
    """In the unit one plans in.

    >>> told(90), told(9000), told(90000)
    ('1.5 min', '2.5 h', '25 h')
    """
    for size, unit in ((60, "s"), (3600, "min"), (48 * 3600, "h")):
        if seconds < size:
            return f"{seconds / {'s': 1, 'min': 60, 'h': 3600}[unit]:.2g} {unit}"
    return f"{seconds / 86400:.2g} days"


if __name__ == "__main__":
    main(sys.argv[1:])
