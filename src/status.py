"""How a sweep stands, from its files alone: ``python -m src.status [outputs=outputs] [--watch]``.

Works from any shell, while cells run here or on a cluster, and touches nothing. A cell is done, running, failed, dead
(its status says running, but no process holds it: it was killed) or waiting (a sweep set out to run it). No torch here.
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

from src import cli
from src.errors import ConfigError, reason
from src.results import store

STATES = ("done", "running", "failed", "dead", "waiting")
REFRESH = 2.0
"""Seconds between looks of ``--watch``."""


class Cell(NamedTuple):
    """One cell as it stands: ``told`` is its status file, ``cost`` its relative work if a sweep planned it."""

    folder: Path
    state: str
    told: Mapping[str, Any]
    cost: float | None

    @property
    def name(self) -> str:
        """``<experiment>/<cell>``."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def look(outputs: Path) -> list[Cell]:
    """Every cell there is or is to be under ``outputs``, by experiment and name.

    Raises:
        ConfigError: when there is no such folder, or it or an experiment's folder in it cannot be read.
    """
    cells = []
    try:
        if not outputs.is_dir():
            raise ConfigError("outputs", outputs, "no such folder; a run makes it")
        for experiment in sorted(path for path in outputs.iterdir() if path.is_dir() and not path.name.startswith(".")):
            planned = store.plan(experiment)
            begun = {path.name for path in experiment.iterdir() if not path.name.startswith(".") and _is_begun(path)}
            for name in sorted(begun | set(planned)):
                cells.append(_cell(experiment / name, planned.get(name)))
    except OSError as error:
        raise ConfigError("outputs", error.filename or outputs, f"cannot be read: {reason(error)}") from error
    return cells


def _is_begun(cell: Path) -> bool:
    """Whether it has a status, as far as one can see: a folder that is closed to us may be a cell."""
    try:
        return (cell / "status.json").exists()
    except PermissionError:
        return True


def _cell(folder: Path, cost: float | None) -> Cell:
    try:
        told = store.status(folder)
    except ConfigError as error:
        told = {"state": "failed", "reason": error.allowed}
    state = {"missing": "waiting"}.get(told["state"], told["state"])
    if state == "running" and not _is_held(folder):
        state = "dead"
    return Cell(folder, state, told, cost)


def _is_held(folder: Path) -> bool:
    """Whether a process holds the cell, as ``store.held`` does."""
    try:
        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def seconds_left(cells: Sequence[Cell], now: datetime) -> float | None:
    """Until everything planned is done, at the pace so far; None while nothing tells the pace, or nothing runs."""
    running = [cell for cell in cells if cell.state == "running"]
    if not running:
        return None
    pace = _pace(cells)
    waiting = [_estimate(cell, pace) for cell in cells if cell.state == "waiting"]
    rest = [cell_seconds_left(cell, pace, now) for cell in running]
    known = [seconds for seconds in (*rest, *waiting) if seconds is not None]
    if len(known) < len(rest) + len(waiting):
        return None
    return max(*known[: len(rest)], sum(known) / len(running))


def cell_seconds_left(cell: Cell, pace: Mapping[str, float], now: datetime) -> float | None:
    """Until a running cell is at its last step; it may stop earlier, and the last measurements come on top."""
    told = cell.told
    done = told.get("step", 0) - told.get("begun_at", 0)
    if done > 0:
        return _between(told["since"], told["beat"]) / done * (told["steps"] - told["step"])
    if (whole := _estimate(cell, pace)) is None:
        return None
    return max(whole - _between(told["since"], now.isoformat()), 0.0)


def _pace(cells: Iterable[Cell]) -> dict[str, float]:
    """Seconds per unit of cost: of every experiment, and of all, under the empty name."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        if cell.cost and (whole := _whole(cell)) is not None:
            for name in (cell.folder.parent.name, ""):
                found.setdefault(name, []).append(whole / cell.cost)
    return {name: statistics.median(paces) for name, paces in found.items()}


def _whole(cell: Cell) -> float | None:
    """Seconds a cell took, or will take at its pace so far; None while nothing tells."""
    told = cell.told
    if cell.state == "running" and (done := told.get("step", 0) - told.get("begun_at", 0)) > 0:
        return _between(told["since"], told["beat"]) / done * told["steps"]
    return told.get("seconds") if cell.state == "done" else None


def _estimate(cell: Cell, pace: Mapping[str, float]) -> float | None:
    per_cost = pace.get(cell.folder.parent.name, pace.get(""))
    return None if per_cost is None or cell.cost is None else cell.cost * per_cost


def _between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def told(cells: Sequence[Cell], now: datetime) -> str:
    """The whole picture as lines of text: a line per experiment, then what runs, what went wrong, and the sum."""
    if not cells:
        return "no cell yet"
    lines = [f"{'experiment':<24}" + "".join(f"{state:>9}" for state in STATES)]
    for experiment in dict.fromkeys(cell.folder.parent.name for cell in cells):
        counts = Counter(cell.state for cell in cells if cell.folder.parent.name == experiment)
        lines.append(f"{experiment:<24}" + "".join(f"{counts[state] or '·':>9}" for state in STATES))
    pace = _pace(cells)
    for cell in cells:
        match cell.state:
            case "running":
                left = _duration(cell_seconds_left(cell, pace, now))
                step = f"step {cell.told.get('step', cell.told.get('begun_at', 0))} of {cell.told.get('steps', '?')}"
                beat = cell.told.get("beat", cell.told["since"])
                heard = _duration(_between(beat, now.isoformat()))
                lines.append(f"running  {cell.name}: {step}, at most {left} left, last sign {heard} ago")
            case "failed":
                lines.append(f"FAILED   {cell.name}: {cell.told.get('reason', 'for no known reason')}")
            case "dead":
                since = cell.told.get("beat", cell.told.get("since", "an unknown time"))
                lines.append(f"DEAD     {cell.name}: killed after {since}; the same command resumes it")
    counts = Counter(cell.state for cell in cells)
    total = f"{counts['done']} of {len(cells)} cells done"
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    lines.append(", ".join([total, *others]) + _outlook(cells, counts, now))
    return "\n".join(lines)


def _outlook(cells: Sequence[Cell], counts: Mapping[str, int], now: datetime) -> str:
    if not counts["running"]:
        return "; nothing is running" if counts["done"] < len(cells) else ""
    left = seconds_left(cells, now)
    return "; time left unknown as yet" if left is None else f"; about {_duration(left)} left"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


COMMAND = cli.Command(
    "python -m src.status",
    "Show how a sweep stands, from its files alone: which cells are done, running, failed, killed or waiting.",
    keys={"outputs": cli.OUTPUTS},
    flags={"--watch": f"show it again every {REFRESH:g} s while a cell runs or waits; Ctrl-C ends it"},
    examples=["python -m src.status", "python -m src.status outputs=elsewhere --watch"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    return cli.exit_code(lambda: _show(arguments))


def _show(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    with contextlib.suppress(KeyboardInterrupt):  # the way to end --watch
        while True:
            cells = look(given.outputs)
            picture = told(cells, datetime.now(UTC))
            print(f"\033[2J\033[H{picture}" if given.watch else picture, flush=True)
            if not given.watch or not any(cell.state in ("running", "waiting") for cell in cells):
                break
            time.sleep(REFRESH)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
