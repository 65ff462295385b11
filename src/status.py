"""Show the state of all sweeps from their files alone: ``python -m src.status [outputs=outputs] [--watch]``.

Works from any shell, while cells run here or on a cluster, and changes no file. A cell is done, running, failed, stale
(recorded as running, but no process has its lock: it was killed) or waiting (planned by a sweep). No torch here.
"""

from __future__ import annotations

import contextlib
import fcntl
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src import cli
from src.errors import ConfigError, reason
from src.results import store

STATES = {"done": "green", "running": "cyan", "failed": "bold red", "stale": "yellow", "waiting": "dim"}
"""State of a cell → its colour on a terminal."""
REFRESH = 2.0
"""Seconds between two refreshes of ``--watch``."""


class Cell(NamedTuple):
    """One cell: ``status`` is the content of its status file, ``cost`` its relative work if a sweep planned it."""

    folder: Path
    state: str
    status: Mapping[str, Any]
    cost: float | None

    @property
    def name(self) -> str:
        """``<experiment>/<cell>``."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def scan(outputs: Path) -> list[Cell]:
    """Return every started or planned cell under ``outputs``, sorted by experiment and name.

    Raises:
        ConfigError: when the folder is missing, or it or an experiment's folder in it cannot be read.
    """
    cells = []
    try:
        if not outputs.is_dir():
            raise ConfigError("outputs", outputs, "no such folder; a run creates it")
        for experiment in sorted(path for path in outputs.iterdir() if path.is_dir() and not path.name.startswith(".")):
            planned = store.plan(experiment)
            started = {path.name for path in experiment.iterdir() if path.name[0] != "." and _is_started(path)}
            for name in sorted(started | set(planned)):
                cells.append(_cell(experiment / name, planned.get(name)))
    except OSError as error:
        raise ConfigError("outputs", error.filename or outputs, f"cannot be read: {reason(error)}") from error
    return cells


def _is_started(cell: Path) -> bool:
    """Return whether a folder has a status file; True for one without read permission, since it may be a cell."""
    try:
        return (cell / "status.json").exists()
    except PermissionError:
        return True


def _cell(folder: Path, cost: float | None) -> Cell:
    try:
        status = store.status(folder)
    except ConfigError as error:
        status = {"state": "failed", "reason": error.allowed}
    state = {"missing": "waiting"}.get(status["state"], status["state"])
    if state == "running" and not _is_locked(folder):
        state = "stale"
    return Cell(folder, state, status, cost)


def _is_locked(folder: Path) -> bool:
    """Return whether a process has the cell's lock, see ``store.cell_lock``."""
    try:
        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def seconds_left(cells: Sequence[Cell], now: datetime) -> float | None:
    """Return the seconds until all planned cells are done, at the pace so far; None if unknown or if no cell runs."""
    running = [cell for cell in cells if cell.state == "running"]
    if not running:
        return None
    pace = _pace(cells)
    waiting = [_estimate(cell, pace) for cell in cells if cell.state == "waiting"]
    left = [cell_seconds_left(cell, pace, now) for cell in running]
    known = [seconds for seconds in (*left, *waiting) if seconds is not None]
    if len(known) < len(left) + len(waiting):
        return None
    return max(*known[: len(left)], sum(known) / len(running))


def cell_seconds_left(cell: Cell, pace: Mapping[str, float], now: datetime) -> float | None:
    """Return the seconds until a running cell reaches its last step, without an early stop or the last measurements."""
    status = cell.status
    done = status.get("step", 0) - status.get("begun_at", 0)
    if done > 0:
        return _between(status["since"], status["beat"]) / done * (status["steps"] - status["step"])
    if (total := _estimate(cell, pace)) is None:
        return None
    return max(total - _between(status["since"], now.isoformat()), 0.0)


def _pace(cells: Iterable[Cell]) -> dict[str, float]:
    """Return the seconds per unit of cost of each experiment, and of all of them under the empty name."""
    paces: dict[str, list[float]] = {}
    for cell in cells:
        if cell.cost and (total := _total_seconds(cell)) is not None:
            for name in (cell.folder.parent.name, ""):
                paces.setdefault(name, []).append(total / cell.cost)
    return {name: statistics.median(values) for name, values in paces.items()}


def _total_seconds(cell: Cell) -> float | None:
    """Return the seconds that a cell took, or will take at its pace so far; None if unknown."""
    status = cell.status
    if cell.state == "running" and (done := status.get("step", 0) - status.get("begun_at", 0)) > 0:
        return _between(status["since"], status["beat"]) / done * status["steps"]
    return status.get("seconds") if cell.state == "done" else None


def _estimate(cell: Cell, pace: Mapping[str, float]) -> float | None:
    per_cost = pace.get(cell.folder.parent.name, pace.get(""))
    return None if per_cost is None or cell.cost is None else cell.cost * per_cost


def _between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def counts_table(cells: Sequence[Cell]) -> Table:
    """Return a table of how many cells of each experiment are in each state."""
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment", min_width=24)
    for state, colour in STATES.items():
        table.add_column(state, justify="right", style=colour)
    for experiment in dict.fromkeys(cell.folder.parent.name for cell in cells):
        counts = Counter(cell.state for cell in cells if cell.folder.parent.name == experiment)
        table.add_row(experiment, *(str(counts[state] or "·") for state in STATES))
    return table


def cell_lines(cells: Sequence[Cell], now: datetime) -> list[Text]:
    """Return a line for each running, failed or stale cell, and a last line with the totals and the time left."""
    lines, pace = [], _pace(cells)
    for cell in cells:
        status = cell.status
        match cell.state:
            case "running":
                left = _duration(cell_seconds_left(cell, pace, now))
                step = f"step {status.get('step', status.get('begun_at', 0))} of {status.get('steps', '?')}"
                beat = _duration(_between(status.get("beat", status["since"]), now.isoformat()))
                line = f"running  {cell.name}: {step}, at most {left} left, last heartbeat {beat} ago"
            case "failed":
                line = f"FAILED   {cell.name}: {status.get('reason', 'no reason recorded')}"
            case "stale":
                since = status.get("beat", status.get("since", "an unknown time"))
                line = f"STALE    {cell.name}: killed after {since}. Run the same command again to resume."
            case _:
                continue
        lines.append(Text(line, STATES[cell.state]))
    counts = Counter(cell.state for cell in cells)
    others = [f"{counts[state]} {state}" for state in STATES if counts[state] and state != "done"]
    total = ", ".join([f"{counts['done']} of {len(cells)} cells done", *others])
    return [*lines, Text(total + _outlook(cells, counts, now))]


def _outlook(cells: Sequence[Cell], counts: Mapping[str, int], now: datetime) -> str:
    if not counts["running"]:
        return "; nothing is running" if counts["done"] < len(cells) else ""
    left = seconds_left(cells, now)
    return "; time left not known yet" if left is None else f"; about {_duration(left)} left"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


COMMAND = cli.Command(
    "python -m src.status",
    "Show which cells are done, running, failed, stale (killed) or waiting. Reads files only.",
    keys={"outputs": cli.OUTPUTS},
    flags={"--watch": f"refresh every {REFRESH:g} s while a cell is running or waiting; stop with Ctrl-C"},
    examples=["python -m src.status", "python -m src.status outputs=elsewhere --watch"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: _show(arguments))


def _show(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    console = Console(soft_wrap=True, highlight=False)
    with contextlib.suppress(KeyboardInterrupt):  # ends --watch
        while True:
            cells = scan(given.outputs)
            if given.watch:
                print("\033[2J\033[H", end="")
            parts = [counts_table(cells), *cell_lines(cells, datetime.now(UTC))] if cells else ["no cells yet"]
            with console.capture() as picture:  # at a closed pipe, rich would end the command with an error
                console.print(*parts, sep="\n")
            print(picture.get(), end="", flush=True)
            if not given.watch or not any(cell.state in ("running", "waiting") for cell in cells):
                break
            time.sleep(REFRESH)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
