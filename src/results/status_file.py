"""Write the state and progress of a cell: ``status.json`` and ``run.log``. No torch here."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from src.config.schema import Config
from src.errors import CellError, ConfigError, naming
from src.results import store


def heartbeat(cell: Path, config: Config, news: Mapping[str, object]) -> None:
    """Write that the cell is running, and its progress, for ``src/status.py``."""
    running = {"state": "running", "forced": config.force, "steps": config.steps}
    before = {} if "since" in news else store.status(cell)
    store.write_json(cell / "status.json", {**before, **running, **news, "beat": now()})


def needs_archive(cell: Path, status_before: str | None) -> bool:
    """Return whether ``force`` must archive the cell's files: not if it has already done so before an interruption.

    ``status_before`` is the status file before this process waited for the lock. If the status of a finished cell has
    changed, another process has just recomputed it. Clocks of machines are not compared.
    """
    try:
        status = store.status(cell)
    except ConfigError:
        return True
    if status["state"] == "done":
        return status_text(cell) == status_before
    return not status.get("forced", False)


def status_text(cell: Path) -> str | None:
    """Return the text of the status file; None if it is missing or cannot be read."""
    try:
        return (cell / "status.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


@contextmanager
def recording_failure(cell: Path) -> Iterator[None]:
    """Record an error as the cell's failure and raise it as a CellError.

    A mistake of the user or a full disk is no failure of the cell: run it again after fixing that. The results of a
    finished cell, which ``force`` archives later, stay.
    """
    try:
        yield
    except (ConfigError, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        cell.mkdir(parents=True, exist_ok=True)
        append_log(cell, traceback.format_exc())
        if not store.count_finished([cell]):
            store.write_json(cell / "status.json", {"state": "failed", "reason": reason, "ended": now()})
        raise CellError(f"{cell.name} failed: {reason} (see {cell / 'run.log'})") from error


def append_log(cell: Path, text: str) -> None:
    """Append a line with the time to ``run.log``."""
    with naming(cell / "run.log"), (cell / "run.log").open("a", encoding="utf-8") as file:
        file.write(f"{now()} {text}\n")


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
