"""Run one cell: assemble its parts, train, measure, record. Finished cells are skipped, interrupted ones resumed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from src import checkpoint, provenance, records, stopping, tracking, training
from src import config as configuration
from src.allowed import ConfigError
from src.types import Batch, Measurement, Model, Objective, Params, Snapshot, Task, UpdateRule

Say = Callable[[str], None]


class CellError(RuntimeError):
    """A cell that could not be run to its end, with the reason as text. Its log holds the traceback."""


class Parts(NamedTuple):
    """What a config assembles to. ``measurements`` holds those of every snapshot, ``last`` those of the end."""

    task: Task
    model: Model
    objective: Objective
    rule: UpdateRule
    stop: stopping.StopRule
    measurements: list[Measurement]
    last: list[Measurement]


def run(config: Mapping[str, Any], command: str, say: Say = print) -> Path:
    """Run the cell of a checked config (``configuration.plain``) unless it is finished; returns its folder.

    ``command`` is what a person types to get this cell; it is recorded.

    Raises:
        ConfigError: for a config that cannot be run, or damaged or unwritable files. Nothing is lost.
        CellError: for anything else that went wrong.
    """
    cell = configuration.folder(config)
    if finished(cell) and not config["force"]:
        say(f"{cell.name}: finished before, skipped")
        return cell
    torch.set_num_threads(config["threads"])
    torch.use_deterministic_algorithms(True)
    parts = assemble(config)
    try:
        cell.mkdir(parents=True, exist_ok=True)
        with records.held(cell, say):
            if config["force"]:
                records.set_aside(cell)
            elif finished(cell):
                say(f"{cell.name}: finished by another process, skipped")
                return cell
            _run_held(cell, config, parts, command)
    except OSError as error:
        raise ConfigError("outputs", config["outputs"], f"cannot be written: {error.strerror}") from error
    return cell


def finished(cell: Path) -> bool:
    """Whether the cell is done.

    Raises:
        ConfigError: when its status cannot be read.
    """
    return records.status(cell)["state"] == "done"


def assemble(config: Mapping[str, Any]) -> Parts:
    """Build every part from its group, in the config's precision and on its device.

    Raises:
        ConfigError: for an unknown key, a wrong type, a value out of range, or keys that contradict each other.
    """
    arguments = {group: configuration.arguments(group, config[group]) for group in configuration.COMPONENT_GROUPS}

    def build(group: str, *given: Any) -> Any:
        return configuration.component(group, config[group]["name"])(*given, **arguments[group])

    task = placed(build("data", config["seeds"]), config["device"], config["dtype"])
    model = build("model", task)
    every, last = [], []
    for name, options in config["measurements"].items():
        measure = configuration.component("measurements", name)
        options = dict(options or {})
        moment = options.pop("at", "every")
        if moment not in ("every", "last"):
            raise ConfigError(f"measurements.{name}.at", moment, "must be one of every, last")
        checked = configuration.check(f"measurements.{name}", options, measure, also=("at",))
        (last if moment == "last" else every).append(measure(task, model, **checked))
    return Parts(
        task,
        model,
        build("objective", task, model),
        build("optimizer", task, model),
        stopping.build(task, model, **config["stop"]),
        every,
        last,
    )


def placed(task: Task, device: str, dtype: str) -> Task:
    """The task on a device (``auto``: a GPU if there is one) in a precision; class indices stay integers."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", device, "no CUDA device here; use device=cpu or device=auto")

    def place(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, getattr(torch, dtype) if value.is_floating_point() else None)
        return value

    return Task(*map(place, task[:4]), {name: place(value) for name, value in task.facts.items()})


def _run_held(cell: Path, config: Mapping[str, Any], parts: Parts, command: str) -> None:
    log = cell / "run.log"
    began = time.monotonic()
    started = _started(cell, config, parts, command)
    mirror = tracking.open_cell(cell, config, resumed=started is not None)
    try:
        records.write_json(cell / "status.json", {"state": "running", "since": _now()})
        _note(log, f"resumed at step {started.step}" if started else "started")
        rows = _train(cell, config, parts, started, mirror)
        members = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
        summary = {"experiment": config["name"], "cell": cell.name, "steps": rows[0]["step"], "members": members}
        records.write_json(cell / "summary.json", summary)
        mirror.summary(members)
        outcome = {
            "state": "done",
            "converged": sum(row["converged"] for row in rows),
            "diverged": sum(row["diverged"] for row in rows),
            "members": len(rows),
            "seconds": round(time.monotonic() - began, 2),
            "ended": _now(),
        }
        records.write_json(cell / "status.json", outcome)
        _note(log, f"done: {outcome}")
        mirror.finish(0)
    except (ConfigError, OSError):
        mirror.finish(1)
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        _note(log, traceback.format_exc())
        records.write_json(cell / "status.json", {"state": "failed", "reason": reason, "ended": _now()})
        mirror.finish(1)
        raise CellError(f"{cell.name} failed: {reason} (see {log})") from error


def _started(
    cell: Path, config: Mapping[str, Any], parts: Parts, command: str
) -> training.Progress | None:
    """The progress to resume from, with the record cut back to it; otherwise a fresh, described cell and None."""
    saved = checkpoint.load(cell / "checkpoint.pt", parts.task.x.device)
    records.rewind(cell / "metrics.jsonl", saved[1] if saved else 0)
    described = {key: value for key, value in config.items() if key not in ("outputs", "force", "report", "profiles")}
    (cell / "config.yaml").write_text(yaml.safe_dump(described, sort_keys=False, allow_unicode=True), encoding="utf-8")
    facts = provenance.collect(
        command=command,
        seeds=config["seeds"],
        dtype=config["dtype"],
        device=str(parts.task.x.device),
        threads=config["threads"],
        data_files=parts.task.facts.get("files", {}),
    )
    earlier = records.read_json(cell / "provenance.json") if saved else None
    if earlier:
        facts = earlier | {"resumed": [*earlier.get("resumed", []), {"date": facts["date"], "git": facts["git"]}]}
    records.write_json(cell / "provenance.json", facts)
    return saved[0] if saved else None


def _train(
    cell: Path, config: Mapping[str, Any], parts: Parts, started: training.Progress | None, mirror: tracking.Mirror
) -> list[dict[str, Any]]:
    """Train to the end; returns the final rows, one per member."""
    task, steps, record = parts.task, config["steps"], cell / "metrics.jsonl"
    batch = Batch(task.x, task.y)
    batches = lambda step: batch  # noqa: E731  gradient flow sees all examples at every step
    begin = started or training.start(_members_init(parts, config["seeds"]), parts.rule, parts.stop)
    marks = stopping.log_spaced(steps, config["snapshots"])
    saved_at, written = time.monotonic(), record.stat().st_size if record.exists() else 0
    bar = tqdm(total=steps, initial=begin.step, desc=cell.name, unit="step", leave=False, disable=None, position=1)
    with bar:
        for progress in training.train(begin, parts.objective, parts.rule, batches, parts.stop, steps):
            bar.update(progress.step - bar.n)
            over = training.over(progress, steps)
            if progress.step in marks and not over and progress is not started:
                view = training.snapshot(progress, parts.objective, parts.rule, batches)
                rows = measure(view, progress, config["seeds"], parts.measurements, final=False)
                written = records.append(record, rows)
                mirror.log(rows)
            if over or time.monotonic() - saved_at >= config["checkpoint_every"]:
                checkpoint.save(cell / "checkpoint.pt", progress, written)
                saved_at = time.monotonic()
        view = training.snapshot(progress, parts.objective, parts.rule, batches)
        rows = measure(view, progress, config["seeds"], parts.measurements + parts.last, final=True)
        records.append(record, rows)
        mirror.log(rows)
    return rows


def _members_init(parts: Parts, seeds: list[int]) -> Params:
    return {name: leaf.to(parts.task.x) for name, leaf in parts.model.init(seeds).items()}


def measure(
    view: Snapshot, progress: training.Progress, seeds: list[int], measurements: list[Measurement], final: bool
) -> list[dict[str, Any]]:
    """One row per member: where it stands, how it ended, and every measured column; curves become lists."""
    columns = {name: values.tolist() for measure in measurements for name, values in measure(view).items()}
    return [
        {
            "step": view.step,
            "member": member,
            "seed": seed,
            "final": final,
            "converged": bool(progress.converged[member]),
            "diverged": bool(progress.diverged[member]),
            **{name: values[member] for name, values in columns.items()},
        }
        for member, seed in enumerate(seeds)
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _note(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")
