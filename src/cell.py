"""Run one cell: assemble its parts, train, measure, record. Finished cells are skipped, interrupted ones resumed."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from src import batches, checkpoint, chunks, mirrors, provenance, records, stopping, tracking, training
from src import config as configuration
from src.allowed import CellError, ConfigError
from src.types import Measurement, Model, Objective, Params, Snapshot, Task, UpdateRule

Say = Callable[[str], None]


class Parts(NamedTuple):
    """What a config assembles to. ``measurements`` holds those of every snapshot, ``last`` those of the end."""

    task: Task
    model: Model
    objective: Objective
    rule: UpdateRule
    stop: stopping.StopRule
    measurements: list[Measurement]
    last: list[Measurement]


def run(config: Mapping[str, Any], command: str, claims: Sequence[str] = (), say: Say = print) -> Path:
    """Run the cell of a checked config (``configuration.plain``) unless it is finished; returns its folder.

    ``command`` is what a person types to get this cell; it is recorded. ``claims`` rest on it, and mark its W&B run.

    Raises:
        ConfigError: for a config that cannot be run, or damaged or unwritable files. Nothing is lost.
        CellError: for anything else that went wrong.
    """
    cell, asked = configuration.folder(config), _now()
    if not config["force"] and records.finished(cell):
        say(f"{cell.name}: finished before, skipped")
        return cell
    torch.set_num_threads(config["threads"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler: a second
    try:
        parts = assemble(config)
    except ConfigError:
        raise
    except Exception as error:  # numbers that no machine can hold, say
        raise _failed(cell, error) from error
    _made(cell)
    with records.held(cell, say):
        if config["force"] and _is_stale(cell, asked):
            records.set_aside(cell)
        elif records.finished(cell):
            say(f"{cell.name}: finished by another process, skipped")
            return cell
        _run_held(cell, config, parts, command, claims)
    return cell


def _is_stale(cell: Path, asked: str) -> bool:
    """Whether ``force`` has still to set the cell's files aside: not if it did, and was interrupted or overtaken."""
    try:
        status = records.status(cell)
    except ConfigError:
        return True
    if status["state"] == "done":
        return status["ended"] < asked
    return not status.get("forced", False)


def _made(cell: Path) -> None:
    try:
        cell.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("outputs", cell, f"cannot be written: {error.strerror}") from error


def _failed(cell: Path, error: Exception) -> CellError:
    """Record the failure; the error that tells of it."""
    reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    _made(cell)
    _note(cell / "run.log", traceback.format_exc())
    records.write_json(cell / "status.json", {"state": "failed", "reason": reason, "ended": _now()})
    return CellError(f"{cell.name} failed: {reason} (see {cell / 'run.log'})")


def check(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Checked keyword arguments of every component and measurement, by the path of its node.

    Raises:
        ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    arguments = {group: configuration.arguments(group, config[group]) for group in configuration.COMPONENT_GROUPS}
    for name, given in config["measurements"].items():
        path = f"measurements.{name}"
        if not isinstance(given, dict | None):
            raise ConfigError(path, given, "must be a mapping of options, {} for none")
        options = dict(given or {})
        moment = options.pop("at", "every")
        if moment not in ("every", "last"):
            raise ConfigError(f"{path}.at", moment, "must be one of every, last")
        schema = configuration.component("measurements", name)
        arguments[path] = configuration.check(path, options, schema, also=("at",))
    return arguments


def assemble(config: Mapping[str, Any]) -> Parts:
    """Build every part from its group, in the config's precision and on its device.

    Raises:
        ConfigError: for what ``check`` refuses, and for keys that contradict each other.
    """
    arguments = check(config)

    def build(group: str, *given: Any) -> Any:
        return configuration.component(group, config[group]["name"])(*given, **arguments[group])

    task = placed(build("data", config["seeds"]), config["device"], config["dtype"])
    model = build("model", task)
    every, last = [], []
    for name, options in config["measurements"].items():
        measure = configuration.component("measurements", name)
        only_last = (options or {}).get("at") == "last"
        (last if only_last else every).append(measure(task, model, **arguments[f"measurements.{name}"]))
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
    """The task on a device in a precision; class indices stay integers."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", device, "no CUDA device here; use device=cpu or device=auto")

    def place(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, getattr(torch, dtype) if value.is_floating_point() else None)
        return value

    return Task(*map(place, task[:4]), {name: place(value) for name, value in task.facts.items()})


def _run_held(cell: Path, config: Mapping[str, Any], parts: Parts, command: str, claims: Sequence[str]) -> None:
    log = cell / "run.log"
    began = time.monotonic()
    started = _started(cell, config, parts, command)
    mirror, exit_code = mirrors.open_cell(cell, config, claims), 1
    try:
        _beat(cell, config, {"since": _now(), "begun_at": started.step if started else 0})
        _note(log, f"resumed at step {started.step}" if started else "started")
        rows = _train(cell, config, parts, started, mirror)
        members = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
        summary = {"experiment": config["name"], "cell": cell.name, "steps": rows[0]["step"], "members": members}
        records.write_json(cell / "summary.json", summary)
        mirror.summary(tracking.history_entry(rows))
        outcome = {
            "state": "done",
            "converged": sum(row["converged"] for row in rows),
            "diverged": sum(row["diverged"] for row in rows),
            "members": len(rows),
            "record": records.fingerprint(cell),
            "seconds": round(time.monotonic() - began, 2),
            "ended": _now(),
        }
        records.write_json(cell / "status.json", outcome)
        _note(log, f"done: {outcome}")
        exit_code = 0
    except ConfigError:
        raise
    except Exception as error:
        raise _failed(cell, error) from error
    finally:
        mirror.finish(exit_code)


def _beat(cell: Path, config: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    """Say in the status that the cell is being run, and how far it is: ``src/status.py`` reads it."""
    running = {"state": "running", "forced": config["force"], "steps": config["steps"]}
    before = {} if "since" in news else records.status(cell)
    records.write_json(cell / "status.json", before | running | news | {"beat": _now()})


def _started(cell: Path, config: Mapping[str, Any], parts: Parts, command: str) -> training.Progress | None:
    """The progress to resume from, with the record cut back to it; otherwise a fresh, described cell and None."""
    saved = checkpoint.load(cell / "checkpoint.pt", parts.task.x.device)
    records.rewind(cell / "metrics.jsonl", saved[1] if saved else 0)
    text = yaml.safe_dump(mirrors.described(config), sort_keys=False, allow_unicode=True)
    (cell / "config.yaml").write_text(text, encoding="utf-8")
    facts = provenance.collect(
        command=command,
        seeds=config["seeds"],
        dtype=config["dtype"],
        device=str(parts.task.x.device),
        threads=config["threads"],
        data_files=parts.task.facts.get("sha256", {}),
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
    batches_of = batches.build(task, config["seeds"], config["batch_size"])
    epoch = batches.steps_of_epoch(task, config["batch_size"])
    begin = started or training.start(_members_init(parts, config["seeds"]), parts.rule, parts.stop)
    marks = stopping.log_spaced(steps, config["snapshots"])
    objective = chunks.fitting(
        parts.objective, begin.params, begin.rule_state, batches_of(begin.step), config["memory"]
    )
    matched_log_risk = -math.inf if config["matched_loss"] is None else math.log(config["matched_loss"])
    saved_at, written = time.monotonic(), record.stat().st_size if record.exists() else 0
    bar = tqdm(total=steps, initial=begin.step, desc=cell.name, unit="step", leave=False, disable=None, position=1)
    with bar:
        for progress in training.train(
            begin, objective, parts.rule, batches_of, parts.stop, steps, matched_log_risk, epoch
        ):
            bar.update(progress.step - bar.n)
            over = training.over(progress, steps)
            marked = progress.step in marks or progress.step in progress.matched_at
            if marked and not over and progress is not started:
                view = training.snapshot(progress, objective, parts.rule, batches_of)
                rows = measure(view, progress, config, parts.measurements, final=False)
                written = records.append(record, rows)
                mirror.log(rows)
            if over or time.monotonic() - saved_at >= config["checkpoint_every"]:
                checkpoint.save(cell / "checkpoint.pt", progress, written)
                _beat(cell, config, {"step": progress.step})
                saved_at = time.monotonic()
        view = training.snapshot(progress, objective, parts.rule, batches_of)
        rows = measure(view, progress, config, parts.measurements + parts.last, final=True)
        records.append(record, rows)
        mirror.log(rows)
    return rows


def _members_init(parts: Parts, seeds: list[int]) -> Params:
    return {name: leaf.to(parts.task.x) for name, leaf in parts.model.init(seeds).items()}


def measure(
    view: Snapshot,
    progress: training.Progress,
    config: Mapping[str, Any],
    measurements: list[Measurement],
    final: bool,
) -> list[dict[str, Any]]:
    """One row per member: where it stands, how it ended, and every measured column; curves become lists.

    The row of the step at which a member first reached the ``matched_loss`` is flagged ``matched``. Trained in
    batches, ``epoch_risk`` is the mean of the batches' risks over the epoch that ends there, while weights moved.
    """
    in_epochs = config["batch_size"] is not None
    columns = {name: values.tolist() for measure in measurements for name, values in measure(view).items()}
    return [
        {
            "step": view.step,
            "member": member,
            "seed": seed,
            "final": final,
            "converged": bool(progress.converged[member]),
            "diverged": bool(progress.diverged[member]),
            "matched": bool(progress.matched_at[member] == view.step),
            **({"epoch_risk": float(progress.epoch_risk[member])} if in_epochs else {}),
            **{name: values[member] for name, values in columns.items()},
        }
        for member, seed in enumerate(config["seeds"])
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _note(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")
