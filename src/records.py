"""The files of one cell: the truth that W&B mirrors and claims are judged on. No torch here.

``outputs/<experiment>/<cell>/`` holds ``config.yaml`` (resolved), ``provenance.json``, ``metrics.jsonl`` (append-only,
one row per measured step and member), ``summary.json``, ``checkpoint.pt``, ``run.log`` and, written last,
``status.json``. The rows hold no clock and no path: the same cell gives the same bytes whenever it is run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas
import yaml

from src.allowed import ConfigError


def write_json(path: Path, value: Any) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """The content, or None when there is no such file.

    Raises:
        ConfigError: when the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path.stem, path, "is damaged; remove it, or pass force=true to run the cell anew") from error


def status(cell: Path) -> dict[str, Any]:
    """``{"state": "running" | "done" | "failed" | "missing", …}`` of a cell.

    Raises:
        ConfigError: when ``status.json`` is damaged.
    """
    found = read_json(cell / "status.json")
    if found is None:
        return {"state": "missing"}
    if not isinstance(found, dict) or "state" not in found:
        raise ConfigError("status", cell / "status.json", "is damaged; remove it, or pass force=true")
    return found


def finished(cell: Path) -> bool:
    """Whether the cell is done.

    Raises:
        ConfigError: when its status is damaged.
    """
    return status(cell)["state"] == "done"


@contextlib.contextmanager
def held(cell: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the cell for this process. If another one has it, say so and wait until that one ends or dies."""
    with (cell / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{cell.name}: another process is running this cell; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_aside(cell: Path) -> Path | None:
    """Move a cell's files to ``.superseded/<cell>-<time>`` beside it: what was computed is never overwritten."""
    if not cell.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**6:06d}"
    aside = cell.parent / ".superseded" / f"{cell.name}-{stamp}"
    aside.mkdir(parents=True)
    for file in cell.iterdir():
        if file.name != ".lock":  # whoever waits for the cell waits on this very file
            file.rename(aside / file.name)
    return aside


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append rows as JSON lines, flushed to disk; returns the length of the file in bytes."""
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def rewind(path: Path, length: int) -> None:
    """Cut the record back to the checkpoint's length: rows after it will be written again, the same.

    Raises:
        ConfigError: when the record is shorter than the checkpoint says.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise ConfigError(
            "metrics",
            path,
            f"is damaged: {size} bytes where the checkpoint says {length}; pass force=true to run the cell anew",
        )
    if size:
        os.truncate(path, length)


def rows(cell: Path) -> list[dict[str, Any]]:
    """All rows of a cell.

    Raises:
        ConfigError: naming the first damaged line.
    """
    path = cell / "metrics.jsonl"
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ConfigError(
                "metrics", path, f"line {number} is damaged; pass force=true to run the cell anew"
            ) from error
    return found


def frame(cells: Iterable[Path]) -> pandas.DataFrame:
    """One row per cell, member and measured step; config keys are columns with underscores for dots (``data_k``)."""
    found = []
    for cell in cells:
        config = yaml.safe_load((cell / "config.yaml").read_text(encoding="utf-8"))
        shared = {"cell": cell.name, "experiment": config["name"], **flatten(config)}
        cell_rows = rows(cell)
        steps_taken = max((row["step"] for row in cell_rows), default=0)
        found += [{**shared, "steps_taken": steps_taken, **row} for row in cell_rows]
    return pandas.DataFrame(found)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"data": {"k": 8}}`` → ``{"data_k": 8}``.

    >>> flatten({"data": {"k": 8, "name": "clusters"}, "steps": 10})
    {'data_k': 8, 'data_name': 'clusters', 'steps': 10}
    """
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat
