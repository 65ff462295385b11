"""How a cell says that it runs, how far it is and how it ended: ``status.json`` and ``run.log``. No torch here."""

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
    """Write to the status that the cell is running, and how far it is: ``src/status.py`` reads it."""
    running = {"state": "running", "forced": config.force, "steps": config.steps}
    before = {} if "since" in news else store.status(cell)
    store.write_json(cell / "status.json", {**before, **running, **news, "beat": now()})


def needs_archive(cell: Path, status_before: str | None) -> bool:
    """Return whether ``force`` has still to archive the cell's files: not if it did, and was interrupted or overtaken.

    ``status_before`` is the status file from before this process waited for the lock. A finished cell that has another
    one now was finished meanwhile: the clocks of the machines are not compared.
    """
    try:
        status = store.status(cell)
    except ConfigError:
        return True
    if status["state"] == "done":
        return status_text(cell) == status_before
    return not status.get("forced", False)


def status_text(cell: Path) -> str | None:
    """Return the status file as it stands; None if it is not there or cannot be read."""
    try:
        return (cell / "status.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


@contextmanager
def recording_failure(cell: Path) -> Iterator[None]:
    """Record an error as the cell's failure and raise it as a CellError.

    A mistake of the user or a full disk is no failure of the cell: it resumes when that is mended.
    """
    try:
        yield
    except (ConfigError, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        cell.mkdir(parents=True, exist_ok=True)
        append_log(cell, traceback.format_exc())
        store.write_json(cell / "status.json", {"state": "failed", "reason": reason, "ended": now()})
        raise CellError(f"{cell.name} failed: {reason} (see {cell / 'run.log'})") from error


def append_log(cell: Path, text: str) -> None:
    """Append a line with the time to ``run.log``."""
    with naming(cell / "run.log"), (cell / "run.log").open("a", encoding="utf-8") as file:
        file.write(f"{now()} {text}\n")


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
