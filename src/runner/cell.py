"""Run one cell: lock, resume or initialise, train, measure, record, finish."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import yaml
from tqdm import tqdm

from src.config.schema import Config
from src.errors import writing_in
from src.results import provenance, status_file, store, wandb_mirror, wandb_run
from src.runner import build
from src.runner.build import Parts
from src.training import batches, checkpoint, loop, microbatching, stopping
from src.types import Measurement, Snapshot

Log = Callable[[str], None]


def run(config: Config, command: str, claims: Sequence[str] = (), log: Log = print) -> Path:
    """Run the cell of a checked config unless it is finished, and return its folder.

    Args:
        config: from ``schema.typed``.
        command: command line that runs the cell.
        claims: ids of the claims that use its experiment.
        log: prints one line on the terminal.

    Raises:
        ConfigError: for a config that cannot be run, or for damaged or unwritable files.
        CellError: for any other error.
    """
    cell = config.folder
    with writing_in(config.outputs):
        status_before = status_file.status_text(cell)
        if not config.force and store.finished(cell):
            log(f"{cell.name}: already finished, skipped")
            return cell
        _compute_reproducibly(config.threads)
        with status_file.recording_failure(cell):
            parts = build.assemble(config)
        cell.mkdir(parents=True, exist_ok=True)
        with store.cell_lock(cell, log):
            if config.force and status_file.needs_archive(cell, status_before):
                store.archive(cell)
            elif store.finished(cell):
                log(f"{cell.name}: finished by another process, skipped")
                return cell
            with status_file.recording_failure(cell):
                saved = _describe_and_rewind(cell, config, parts, command)
                mirror = wandb_mirror.open_cell(cell, config, claims)
                try:
                    _train(cell, config, parts, saved, mirror)
                finally:
                    mirror.finish(0 if store.finished(cell) else 1)
    return cell


def _train(
    cell: Path, config: Config, parts: Parts, saved: tuple[loop.Progress, int] | None, mirror: wandb_run.Mirror
) -> None:
    """Train the locked cell to its end, from the ``saved`` checkpoint if any; write rows, checkpoints and status."""
    since, saved_at, recording = time.monotonic(), time.monotonic(), 0.0
    begin, written = saved or (build.start(config, parts), 0)
    status_file.heartbeat(cell, config, {"since": status_file.now(), "begun_at": begin.step})
    status_file.append_log(cell, f"resumed at step {begin.step}" if saved else "started")
    batches_of = batches.build(parts.task, config.seeds, config.batch_size)
    objective = microbatching.within(
        config.memory_gb, parts.objective, begin.params, begin.rule_state, batches_of(begin.step)
    )
    levels = [math.log(loss) for loss in config.compare_at_loss]
    epoch = batches.steps_of_epoch(parts.task, config.batch_size)
    steps_to_measure = stopping.measured(config.steps, config.log_points)
    training = loop.train(begin, objective, parts.rule, batches_of, parts.stop, config.steps, levels, epoch)
    with _progress_bar(cell.name, begin.step, config.steps) as bar:
        for progress in training:
            bar.update(progress.step - bar.n)
            over = loop.over(progress, config.steps)
            new = not (saved and progress.step == begin.step)  # a resumed run has already recorded its first step
            measured = new and not over and (progress.step in steps_to_measure or progress.step in progress.passed_at)
            due = new and (over or time.monotonic() - saved_at >= config.checkpoint_every)
            began = time.thread_time()
            if measured:
                view = loop.snapshot(progress, objective, parts.rule, batches_of)
                written = _record(cell, rows_of(view, progress, config, parts.measurements, final=False), mirror)
            if due:
                store.replace(cell / "checkpoint.pt", checkpoint.content(progress, written), sync=True)
                status_file.heartbeat(cell, config, {"step": progress.step})
                saved_at = time.monotonic()
            recording += time.thread_time() - began
    began = time.thread_time()
    view = loop.snapshot(progress, objective, parts.rule, batches_of)
    rows = rows_of(view, progress, config, parts.measurements + parts.last, final=True)
    _record(cell, rows, mirror)
    spent = {"seconds": time.monotonic() - since, "on_the_way": recording, "at_the_end": time.thread_time() - began}
    _finish(cell, config, rows, mirror, spent)


def rows_of(
    view: Snapshot, progress: loop.Progress, config: Config, measurements: Sequence[Measurement], *, final: bool
) -> list[store.Row]:
    """Return one row per member: step, outcome and every measured column; curves become lists.

    ``own_steps`` counts the steps of a member, which end before those of its cell once it has converged.
    ``matched`` is the loss of ``compare_at_loss`` that a member first reached at this step (the lowest, if it passed
    several; ``store.frame`` has a row for each), otherwise null. With batches, ``epoch_risk`` is the mean of the
    batches' risks over the epoch that ends at this step.
    """
    in_epochs = config.batch_size is not None
    columns = {name: values.tolist() for measure in measurements for name, values in measure(view).items()}
    return [
        {
            "step": view.step,
            "member": member,
            "seed": seed,
            "own_steps": int(progress.own_steps[member]),
            "final": final,
            "converged": bool(progress.converged[member]),
            "diverged": bool(progress.diverged[member]),
            "matched": _loss_reached(progress, member, view.step, config.compare_at_loss),
            **({"epoch_risk": float(progress.epoch_risk[member])} if in_epochs else {}),
            **{name: values[member] for name, values in columns.items()},
        }
        for member, seed in enumerate(config.seeds)
    ]


def _loss_reached(progress: loop.Progress, member: int, step: int, losses: Sequence[float]) -> float | None:
    """Return the loss that a member first reached at this step, if any."""
    return losses[int(progress.levels[member]) - 1] if progress.passed_at[member] == step else None


def _record(cell: Path, rows: Sequence[store.Row], mirror: wandb_run.Mirror) -> int:
    """Append the rows to the record and to the W&B run; return the bytes of the record."""
    written = store.append(cell / "metrics.jsonl", rows)
    mirror.log(rows)
    return written


def _describe_and_rewind(cell: Path, config: Config, parts: Parts, command: str) -> tuple[loop.Progress, int] | None:
    """Write the config and the provenance, and cut the record back to the checkpoint; return the checkpoint."""
    saved = checkpoint.load(cell / "checkpoint.pt", parts.task.x.device)
    store.rewind(cell / "metrics.jsonl", saved[1] if saved else 0)
    text = yaml.safe_dump(wandb_mirror.described(config), sort_keys=False, allow_unicode=True)
    store.replace(cell / "config.yaml", text.encode())
    facts = provenance.collect(
        command=command,
        seeds=config.seeds,
        dtype=config.dtype,
        device=str(parts.task.x.device),
        threads=config.threads,
        data_files=parts.task.facts.get("sha256", {}),
    )
    if saved and (earlier := store.read_json(cell / "provenance.json")):
        facts = earlier | {"resumed": [*earlier.get("resumed", []), {"date": facts["date"], "git": facts["git"]}]}
    store.write_json(cell / "provenance.json", facts)
    return saved


def _finish(
    cell: Path, config: Config, rows: Sequence[store.Row], mirror: wandb_run.Mirror, spent: Mapping[str, float]
) -> None:
    """Write the summary and the final status; ``rows`` are the last rows of the members.

    ``spent`` has the wall time, and the processor time of measuring and recording during training and at the end.
    """
    members = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
    summary = {"experiment": config.name, "cell": cell.name, "steps": rows[0]["step"]}
    store.write_json(cell / "summary.json", summary | {"members": members})
    mirror.summary(wandb_run.history_entry(rows))
    outcome = {
        "state": "done",
        "converged": sum(row["converged"] for row in rows),
        "diverged": sum(row["diverged"] for row in rows),
        "members": len(rows),
        "record": store.fingerprint(cell),
        **{name: round(seconds, 2) for name, seconds in spent.items()},
        "ended": status_file.now(),
    }
    store.write_json(cell / "status.json", outcome)
    status_file.append_log(cell, f"done: {outcome}")


def _progress_bar(name: str, step: int, steps: int) -> tqdm:
    """Return the progress bar of a cell, below that of its sweep; hidden when output is piped."""
    return tqdm(total=steps, initial=step, desc=name, unit="step", leave=False, disable=None, position=1)


def _compute_reproducibly(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_deterministic_debug_mode("error")  # the public function imports the compiler: a second
