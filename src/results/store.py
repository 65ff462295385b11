"""The files of one cell: the truth that W&B mirrors and claims are judged on. No torch here.

``outputs/<experiment>/<cell>/`` holds ``config.yaml`` (resolved), ``provenance.json``, ``metrics.jsonl`` (one row per
measured step and member; appended to, and cut back only to a checkpoint), ``summary.json``, ``checkpoint.pt``,
``run.log`` and, written last, ``status.json``. The rows hold no clock and no path: the same cell gives the same bytes
whenever it is run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src.errors import ANEW, ConfigError, naming, reason

if TYPE_CHECKING:
    import pandas  # takes half a second: only a frame needs it


def write_json(path: Path, value: Any) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    replace(path, (json.dumps(value, indent=1, allow_nan=True) + "\n").encode())


def replace(path: Path, content: bytes | memoryview, *, sync: bool = False) -> None:
    """Put ``content`` in the place of a file, all of it or nothing; with ``sync`` it is on the disk afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        with contextlib.suppress(OSError):  # half a file would take room on a full disk
            temporary.unlink()
        raise


def read_json(path: Path, mend: str = ANEW) -> Any:
    """The content, or None when there is no such file.

    Raises:
        ConfigError: when the file cannot be read, or is damaged; then the text ends with how to ``mend`` it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ConfigError(path.stem, path, f"is damaged ({_first_line(error)}); {mend}") from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    """A file that cannot be read is not damaged, and nothing is mended by running its cell anew."""
    return ConfigError(path.stem, path, f"cannot be read: {reason(error)}")


def status(cell: Path) -> dict[str, Any]:
    """``{"state": "running" | "done" | "failed" | "missing", …}`` of a cell.

    Raises:
        ConfigError: when ``status.json`` is damaged or cannot be read.
    """
    found = read_json(cell / "status.json")
    if found is None:
        return {"state": "missing"}
    if not isinstance(found, dict) or "state" not in found:
        raise ConfigError("status", cell / "status.json", f"is damaged; {ANEW}")
    return found


def finished(cell: Path) -> bool:
    """Whether the cell is done.

    Raises:
        ConfigError: when its status is damaged or cannot be read.
    """
    return status(cell)["state"] == "done"


def count_finished(cells: Iterable[Path]) -> int:
    """How many of the cells are done; those whose status is damaged or cannot be read are not."""
    count = 0
    for cell in cells:
        with contextlib.suppress(ConfigError):
            count += finished(cell)
    return count


PLAN = ".plan.json"


def write_plan(costs: Mapping[Path, float]) -> None:
    """Note what a sweep set out to run, per experiment: the cells, each with its relative work. The last one counts."""
    for experiment in {cell.parent for cell in costs}:
        experiment.mkdir(parents=True, exist_ok=True)
        write_json(experiment / PLAN, {cell.name: cost for cell, cost in costs.items() if cell.parent == experiment})


def plan(experiment: Path) -> dict[str, float]:
    """The cells the last sweep of an experiment's folder set out to run, with their relative work; none if damaged."""
    with contextlib.suppress(ConfigError):
        return dict(read_json(experiment / PLAN) or {})
    return {}


def drop_refused(cells: Iterable[Path]) -> None:
    """Take cells that were refused, and so have no folder, out of their plan; remove what is then empty."""
    for experiment in {cell.parent for cell in cells}:
        begun = {name: cost for name, cost in plan(experiment).items() if (experiment / name).exists()}
        with contextlib.suppress(OSError):  # a folder holds something, or the disk is full
            if begun:
                write_json(experiment / PLAN, begun)
                continue
            (experiment / PLAN).unlink(missing_ok=True)
            experiment.rmdir()
        with contextlib.suppress(OSError):
            (experiment.parent / ".hydra").rmdir()
            experiment.parent.rmdir()


@contextlib.contextmanager
def held(cell: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the cell for this process. If another one has it, say so and wait until that one ends or dies."""
    with (cell / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{cell.name}: another process is running this cell; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        for half in cell.glob(".*.*.[0-9]*"):  # whoever was writing it has been killed
            half.unlink(missing_ok=True)
        yield


def set_aside(cell: Path) -> Path | None:
    """Move a cell's files to ``.superseded/<cell>-<time>`` beside it: what was computed is never overwritten."""
    if not cell.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**6:06d}"
    aside = cell.parent / ".superseded" / f"{cell.name}-{stamp}"
    aside.mkdir(parents=True)
    # The status goes first: killed on the way, the cell is an unstarted one. Whoever waits for it waits on its lock.
    files = sorted(cell.iterdir(), key=lambda file: (file.name != "status.json", file.name != "checkpoint.pt"))
    for file in files:
        if file.name != ".lock":
            file.rename(aside / file.name)
    return aside


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append rows as JSON lines, flushed to disk; returns the length of the file in bytes."""
    with naming(path), path.open("a", encoding="utf-8") as file:
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
            f"is damaged ({size} bytes where the checkpoint says {length}); {ANEW}",
        )
    if size:
        os.truncate(path, length)


def fingerprint(cell: Path) -> str:
    """sha256 of the record; a finished cell's status keeps it, so that a lost row is noticed."""
    return hashlib.sha256((cell / "metrics.jsonl").read_bytes()).hexdigest()


def rows(cell: Path) -> list[dict[str, Any]]:
    """All rows of a cell.

    Raises:
        ConfigError: when the record cannot be read, is missing, damaged or not the one a finished cell had.
    """
    path = cell / "metrics.jsonl"
    try:
        expected = status(cell).get("record")
        if expected and fingerprint(cell) != expected:
            raise ValueError("other rows than when the cell was finished")
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(row, dict) for row in found):
            raise ValueError("a line that is no row")
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError("metrics", path, f"is damaged ({_first_line(error)}); {ANEW}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return found


def config_of(cell: Path) -> dict[str, Any]:
    """The resolved config of a cell.

    Raises:
        ConfigError: when it is missing, damaged or cannot be read.
    """
    path = cell / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or "name" not in config:
            raise ValueError("not a config")
    except (FileNotFoundError, ValueError, yaml.YAMLError) as error:
        raise ConfigError("config", path, f"is damaged ({_first_line(error)}); {ANEW}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return config


def frame(cells: Iterable[Path]) -> pandas.DataFrame:
    """One row per cell, member and measured step; config keys are columns with underscores for dots (``data_k``).

    Raises:
        ConfigError: for a damaged cell.
    """
    import pandas

    found = []
    for cell in cells:
        config = config_of(cell)
        shared = {"cell": cell.name, "experiment": config["name"], **flatten(config)}
        cell_rows = rows(cell)
        steps_taken = max((row["step"] for row in cell_rows), default=0)
        last = {row["member"]: row for row in cell_rows if row["final"]}
        found += [shared | {"steps_taken": steps_taken} | row | _cosine(row, last) for row in cell_rows]
    return pandas.DataFrame(found)


def _cosine(row: Mapping[str, Any], last: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """cos(θ_t, θ_T) = 1 − ‖s_t − s_T‖²/2, from the sketches of ``src/measurements/direction.py`` if there are any."""
    if "direction_sketch" not in row or row["member"] not in last:
        return {}
    here, there = row["direction_sketch"], last[row["member"]]["direction_sketch"]
    return {"cosine_to_last": 1 - sum((a - b) ** 2 for a, b in zip(here, there, strict=True)) / 2}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"data": {"k": 8}}`` → ``{"data_k": 8}``.

    >>> flatten({"data": {"k": 8, "name": "clusters"}, "steps": 10})
    {'data_k': 8, 'data_name': 'clusters', 'steps': 10}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat
