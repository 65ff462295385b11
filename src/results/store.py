"""Read and write the files of a cell, from which claims are judged; W&B has a copy. No torch here.

``outputs/<experiment>/<cell>/`` has ``config.yaml`` (resolved), ``provenance.json``, ``metrics.jsonl`` (one row per
measured step and member; append-only except for a rewind to a checkpoint), ``summary.json``, ``checkpoint.pt``,
``run.log`` and, written last, ``status.json``. Rows contain no time and no path, so the same cell always gives the
same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src.errors import ANEW, ConfigError, naming, reason

if TYPE_CHECKING:
    import pandas  # takes half a second to import


Row = dict[str, Any]
"""One line of ``metrics.jsonl``: column → value."""
COSINES = {"direction_sketch": "cosine_to_last", "subgradient_sketch": "subgradient_cosine_to_last"}
"""Column of a sketch → the cosine with the last row that ``frame`` computes from it."""


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    replace(path, (json.dumps(value, indent=1, allow_nan=True) + "\n").encode())


def replace(path: Path, content: bytes | memoryview, *, sync: bool = False) -> None:
    """Replace the content of a file atomically; with ``sync``, flush it to disk."""
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
        with contextlib.suppress(OSError):  # a partial file would use space on a full disk
            temporary.unlink()
        raise


def read_json(path: Path, repair: str = ANEW) -> Any:
    """Return the content of a JSON file, or None if it does not exist.

    Raises:
        ConfigError: when the file cannot be read, or is damaged; then the text ends with ``repair``.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ConfigError(path.stem, path, f"is damaged ({_first_line(error)}); {repair}") from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    """Return the error for an unreadable file; it may be intact, so the text does not advise to recompute the cell."""
    return ConfigError(path.stem, path, f"cannot be read: {reason(error)}")


def status(cell: Path) -> dict[str, Any]:
    """Return ``{"state": "running" | "done" | "failed" | "missing", …}`` of a cell.

    Raises:
        ConfigError: when ``status.json`` is damaged or cannot be read.
    """
    content = read_json(cell / "status.json")
    if content is None:
        return {"state": "missing"}
    if not isinstance(content, dict) or "state" not in content:
        raise ConfigError("status", cell / "status.json", f"is damaged; {ANEW}")
    return content


def finished(cell: Path) -> bool:
    """Return whether the cell is done.

    Raises:
        ConfigError: when its status is damaged or cannot be read.
    """
    return status(cell)["state"] == "done"


def count_finished(cells: Iterable[Path]) -> int:
    """Return how many of the cells are done; a damaged or unreadable status counts as not done."""
    count = 0
    for cell in cells:
        with contextlib.suppress(ConfigError):
            count += finished(cell)
    return count


PLAN = ".plan.json"


def write_plan(costs: Mapping[Path, float]) -> None:
    """Write the planned cells of a sweep and their relative work, one file per experiment."""
    for experiment in {cell.parent for cell in costs}:
        experiment.mkdir(parents=True, exist_ok=True)
        write_json(experiment / PLAN, {cell.name: cost for cell, cost in costs.items() if cell.parent == experiment})


def plan(experiment: Path) -> dict[str, float]:
    """Return cell → relative work of the last sweep's plan; empty if the file is damaged."""
    with contextlib.suppress(ConfigError):
        return dict(read_json(experiment / PLAN) or {})
    return {}


def drop_refused(cells: Iterable[Path]) -> None:
    """Remove refused cells, which have no folder, from the plan, and then empty folders."""
    for experiment in {cell.parent for cell in cells}:
        started = {name: cost for name, cost in plan(experiment).items() if (experiment / name).exists()}
        with contextlib.suppress(OSError):  # a folder is not empty, or the disk is full
            if started:
                write_json(experiment / PLAN, started)
                continue
            (experiment / PLAN).unlink(missing_ok=True)
            experiment.rmdir()
        with contextlib.suppress(OSError):
            (experiment.parent / ".hydra").rmdir()
            experiment.parent.rmdir()


@contextlib.contextmanager
def cell_lock(cell: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Lock the cell within the context; if another process has the lock, log that and wait."""
    with (cell / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"{cell.name}: another process is running this cell; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        for partial in cell.glob(".*.*.[0-9]*"):  # left by a killed process
            partial.unlink(missing_ok=True)
        yield


def archive(cell: Path) -> Path | None:
    """Move a cell's files to ``.superseded/<cell>-<time>`` beside it, so that no result is overwritten."""
    if not cell.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**6:06d}"
    folder = cell.parent / ".superseded" / f"{cell.name}-{stamp}"
    folder.mkdir(parents=True)
    # The status moves first, so that the cell counts as not started after a kill in between. The lock stays.
    files = sorted(cell.iterdir(), key=lambda file: (file.name != "status.json", file.name != "checkpoint.pt"))
    for file in files:
        if file.name != ".lock":
            file.rename(folder / file.name)
    return folder


def append(path: Path, rows: Iterable[Row]) -> int:
    """Append rows as JSON lines, flushed to disk; return the length of the file in bytes."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def rewind(path: Path, length: int) -> None:
    """Truncate the record to the checkpoint's length; training writes the later rows again, with equal bytes.

    Raises:
        ConfigError: when the record is shorter than that.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise ConfigError("metrics", path, f"is damaged ({size} bytes, but {length} in the checkpoint); {ANEW}")
    if size:
        os.truncate(path, length)


def fingerprint(cell: Path) -> str:
    """Return the sha256 of the record; the status of a finished cell has it, to detect changed rows."""
    return hashlib.sha256((cell / "metrics.jsonl").read_bytes()).hexdigest()


def digest(cells: Iterable[Path]) -> str:
    """Return a hash of all files that ``frame`` reads of these cells; a file that cannot be read counts as empty."""
    content = hashlib.sha256()
    for cell in cells:
        for name in ("config.yaml", "metrics.jsonl"):
            with contextlib.suppress(OSError):
                content.update(f"{cell.name} {name} {hashlib.sha256((cell / name).read_bytes()).hexdigest()}".encode())
    return content.hexdigest()


def rows(cell: Path) -> list[Row]:
    """Return all rows of a cell.

    Raises:
        ConfigError: when the record is missing, unreadable or damaged, or has another sha256 than the status.
    """
    path = cell / "metrics.jsonl"
    try:
        expected = status(cell).get("record")
        if expected and fingerprint(cell) != expected:
            raise ValueError("checksum mismatch")
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if wrong := next((number for number, row in enumerate(records, 1) if not isinstance(row, dict)), None):
            raise ValueError(f"line {wrong} is not a JSON object")
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError("metrics", path, f"is damaged ({_first_line(error)}); {ANEW}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return records


def config_of(cell: Path) -> dict[str, Any]:
    """Return the resolved config of a cell.

    Raises:
        ConfigError: when it is missing, damaged or cannot be read.
    """
    path = cell / "config.yaml"
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # six times as fast as safe_load
        if not isinstance(config, dict) or "name" not in config:
            raise ValueError("not a config")
    except (FileNotFoundError, ValueError, yaml.YAMLError) as error:
        raise ConfigError("config", path, f"is damaged ({_first_line(error)}); {ANEW}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return config


def frame(cells: Iterable[Path]) -> pandas.DataFrame:
    """Return one row per cell, member and measured step; config keys are columns, ``data.k`` as ``data_k``.

    A row of a step in which a member passes several losses of ``compare_at_loss`` stands once for each of them.
    ``soft_margin_peak`` is the largest ``soft_margin`` of the member so far, and ``growth_l`` is ``fnorm_l``² less its
    value in the member's first row.

    Raises:
        ConfigError: for a damaged cell.
    """
    import pandas

    records = []
    for cell in cells:
        config = config_of(cell)
        shared = {"cell": cell.name, "experiment": config["name"], **flatten(config)}
        cell_rows = list(_at_each_loss(rows(cell), config.get("compare_at_loss") or []))
        last = {row["member"]: row for row in cell_rows if row["final"]}
        records += [shared | row | _relative_to(last.get(row["member"]), row) for row in cell_rows]
    table = pandas.DataFrame(records)
    member = ["experiment", "cell", "member"]
    if "soft_margin" in table:
        table["soft_margin_peak"] = table.groupby(member)["soft_margin"].cummax()
    for norm in [column for column in table if column.startswith("fnorm_")]:
        first = table.groupby(member)[norm].transform("first")
        table[norm.replace("fnorm", "growth")] = table[norm] ** 2 - first**2
    return table


def _at_each_loss(cell_rows: Iterable[Row], losses: Sequence[float]) -> Iterator[Row]:
    """Yield the rows, and copies of those in which a member has passed several of the ``losses``, which descend.

    Such a row has the lowest of them as ``matched``; each copy has another one, and is not final.
    """
    passed: Counter[int] = Counter()
    for row in cell_rows:
        if row.get("matched") in losses:
            place = losses.index(row["matched"])
            for loss in losses[passed[row["member"]] : place]:
                yield row | {"matched": loss, "final": False}
            passed[row["member"]] = place + 1
        yield row


def _relative_to(last: Row | None, row: Row) -> Row:
    """Return what a row and the last row of its member determine: the steps that the member took, and cosines.

    The cosine of unit vectors is 1 − ‖s_t − s_T‖²/2 from their sketches (``src/measurements/direction.py``), if any.
    """
    if last is None:
        return {}
    relative = {"steps_taken": last.get("own_steps", last["step"])}
    for sketch, cosine in COSINES.items():
        if sketch in row:
            relative[cosine] = 1 - math.dist(row[sketch], last[sketch]) ** 2 / 2
    return relative


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return a nested config as one level: ``{"data": {"k": 8}}`` → ``{"data_k": 8}``.

    >>> flatten({"data": {"k": 8, "name": "clusters"}, "steps": 10})
    {'data_k': 8, 'data_name': 'clusters', 'steps': 10}
    """
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat
