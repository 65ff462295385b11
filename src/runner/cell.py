"""Run cells: assemble, train, measure, record. Finished ones are skipped, killed ones resumed, alike ones joined."""

from __future__ import annotations

import functools
import itertools
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from tqdm import tqdm

from src.config import schema
from src.errors import CellError, ConfigError, naming, writing_in
from src.results import provenance, store, wandb_mirror, wandb_run
from src.runner import build, teams
from src.runner.build import Parts
from src.training import batches, checkpoint, loop, microbatching, stopping
from src.types import Measurement, Snapshot

Say = Callable[[str], None]


class Order(NamedTuple):
    """A cell to run: its checked config, what a person types to get it, and the claims that rest on it."""

    config: dict[str, Any]
    command: str
    claims: Sequence[str] = ()


class Running(NamedTuple):
    """A cell that is being run: its folder, and where its training begins, or goes on if it was ``resumed``."""

    folder: Path
    config: dict[str, Any]
    parts: Parts
    begin: loop.Progress
    resumed: bool
    mirror: wandb_run.Mirror
    since: float


def run(config: Mapping[str, Any], command: str, claims: Sequence[str] = (), say: Say = print) -> Path:
    """Run the cell of a checked config (``schema.plain``) unless it is finished; returns its folder.

    Raises:
        ConfigError: for a config that cannot be run, or damaged or unwritable files. Nothing is lost.
        CellError: for anything else that went wrong.
    """
    run_together([Order(dict(config), command, claims)], say)
    return schema.folder(config)


def run_together(orders: Sequence[Order], say: Say = print) -> None:
    """Run cells, those that can be a team (``teams.py``) in one batch. One that fails to start stops no other.

    A cell that stands twice runs once. All are opened in one order everywhere: two processes that share cells would
    otherwise wait for each other.

    Raises:
        ConfigError: as ``run``, for the first cell that fails.
        CellError: as ``run``.
    """
    errors, cells = [], []
    by_folder = {schema.folder(order.config): order for order in orders}
    with writing_in(orders[0].config["outputs"]):
        with ExitStack() as opened:
            for folder in sorted(by_folder):
                try:
                    cells.append(opened.enter_context(_opened(by_folder[folder], say)))
                except (ConfigError, CellError, OSError) as error:
                    errors.append(error)
            for team in _teams([cell for cell in cells if cell]):
                _train(team)
        if errors:
            raise errors[0]


@contextmanager
def _opened(order: Order, say: Say) -> Iterator[Running | None]:
    """A cell to be trained, held by this process, with its mirror open; None when it is finished.

    It is told as failed if anything goes wrong before it is done.
    """
    config = order.config
    cell = schema.folder(config)
    before = _status_text(cell)
    if not config["force"] and store.finished(cell):
        say(f"{cell.name}: finished before, skipped")
        yield None
        return
    torch.set_num_threads(config["threads"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler: a second
    try:
        parts = build.assemble(config)
    except ConfigError:
        raise
    except Exception as error:  # numbers that no machine can hold, say
        raise _failed(cell, error) from error
    cell.mkdir(parents=True, exist_ok=True)
    with store.held(cell, say):
        if config["force"] and _is_stale(cell, before):
            store.set_aside(cell)
        elif store.finished(cell):
            say(f"{cell.name}: finished by another process, skipped")
            yield None
            return
        since = time.monotonic()
        started = _started(cell, config, parts, order.command)
        mirror = wandb_mirror.open_cell(cell, config, order.claims)
        try:
            _beat(cell, config, {"since": _now(), "begun_at": started.step if started else 0})
            _note(cell / "run.log", f"resumed at step {started.step}" if started else "started")
            begin = started or build.start(config, parts)
            yield Running(cell, config, parts, begin, started is not None, mirror, since)
        except (ConfigError, OSError):  # a full disk, say: the cell has not failed, it goes on when there is room
            raise
        except Exception as error:
            if store.finished(cell):
                raise  # another one of its team failed
            cause = error.__cause__ if isinstance(error, CellError) else error
            raise _failed(cell, cause) from cause
        finally:
            mirror.finish(0 if store.finished(cell) else 1)


def _status_text(cell: Path) -> str | None:
    """The status file as it stands; None if it is not there or cannot be read."""
    try:
        return (cell / "status.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _is_stale(cell: Path, before: str | None) -> bool:
    """Whether ``force`` has still to archive the cell's files: not if it did, and was interrupted or overtaken.

    ``before`` is the status file from before this process waited for the cell. A finished cell that has another one now
    was finished meanwhile: the clocks of the machines are not compared.
    """
    try:
        status = store.status(cell)
    except ConfigError:
        return True
    if status["state"] == "done":
        return _status_text(cell) == before
    return not status.get("forced", False)


def _failed(cell: Path, error: Exception) -> CellError:
    """Record the failure; the error that tells of it."""
    reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    cell.mkdir(parents=True, exist_ok=True)
    _note(cell / "run.log", traceback.format_exc())
    store.write_json(cell / "status.json", {"state": "failed", "reason": reason, "ended": _now()})
    return CellError(f"{cell.name} failed: {reason} (see {cell / 'run.log'})")


def _beat(cell: Path, config: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    """Say in the status that the cell is being run, and how far it is: ``src/status.py`` reads it."""
    running = {"state": "running", "forced": config["force"], "steps": config["steps"]}
    before = {} if "since" in news else store.status(cell)
    store.write_json(cell / "status.json", before | running | news | {"beat": _now()})


def _started(cell: Path, config: Mapping[str, Any], parts: Parts, command: str) -> loop.Progress | None:
    """The progress to resume from, with the record cut back to it; otherwise a fresh, described cell and None."""
    saved = checkpoint.load(cell / "checkpoint.pt", parts.task.x.device)
    store.rewind(cell / "metrics.jsonl", saved[1] if saved else 0)
    text = yaml.safe_dump(wandb_mirror.described(config), sort_keys=False, allow_unicode=True)
    store.replace(cell / "config.yaml", text.encode())
    facts = provenance.collect(
        command=command,
        seeds=config["seeds"],
        dtype=config["dtype"],
        device=str(parts.task.x.device),
        threads=config["threads"],
        data_files=parts.task.facts.get("sha256", {}),
    )
    earlier = store.read_json(cell / "provenance.json") if saved else None
    if earlier:
        facts = earlier | {"resumed": [*earlier.get("resumed", []), {"date": facts["date"], "git": facts["git"]}]}
    store.write_json(cell / "provenance.json", facts)
    return saved[0] if saved else None


def _teams(cells: Sequence[Running]) -> list[list[Running]]:
    """The cells in teams: alike, with examples of the same shapes, at the same step, and no more than fit at once."""

    def key(cell: Running) -> tuple[Any, ...]:
        task, optimizer = cell.parts.task, cell.config["optimizer"]
        try:
            schema.arguments("optimizer", optimizer | {"lr": [optimizer.get("lr")]})
            one_rate = None
        except ConfigError:  # a rule that has one base rate for all its members, or none
            one_rate = str(optimizer.get("lr"))
        shapes = task.x.shape[task.y.ndim - 1 :], task.y.shape[-1]
        return teams.alike(cell.config), *shapes, cell.begin.step, one_rate

    found = []
    for team in teams.grouped((key(cell), cell) for cell in cells):
        (_, config, parts, begin, *_), fit = team[0], None
        if len(team) > 1:
            batch = batches.build(parts.task, config["seeds"], config["batch_size"])(begin.step)
            fit = microbatching.at_once(parts.objective, begin.params, begin.rule_state, batch, config["memory"])
        found += teams.cut(team, config, fit and fit // len(config["seeds"]))
    return found


def _train(team: Sequence[Running]) -> None:
    """Train the cells of a team to the end; each is done as soon as its own members are."""
    config, parts = build.of_team([cell.config for cell in team], [cell.parts for cell in team])
    task, steps = parts.task, config["steps"]
    batches_of = batches.build(task, config["seeds"], config["batch_size"])
    epoch = batches.steps_of_epoch(task, config["batch_size"])
    begin = team[0].begin if len(team) == 1 else loop.joined([cell.begin for cell in team])
    objective = microbatching.fitting(
        parts.objective, begin.params, begin.rule_state, batches_of(begin.step), config["memory"]
    )
    matched_log_risk = -math.inf if config["matched_loss"] is None else math.log(config["matched_loss"])
    ends = list(itertools.accumulate(len(cell.config["seeds"]) for cell in team))
    members = itertools.starmap(slice, itertools.pairwise([0, *ends]))
    left = [_recorder(cell, own, len(team)) for cell, own in zip(team, members, strict=True)]
    name = team[0].folder.name + (f" and {len(team) - 1} more" if len(team) > 1 else "")
    for cell in team if len(team) > 1 else ():
        mates = ", ".join(mate.folder.name for mate in team if mate is not cell)
        _note(cell.folder / "run.log", f"in one batch with {mates}")
    bar = tqdm(total=steps, initial=begin.step, desc=name, unit="step", leave=False, disable=None, position=1)
    with bar:
        for progress in loop.train(
            begin, objective, parts.rule, batches_of, parts.stop, steps, matched_log_risk, epoch
        ):
            bar.update(progress.step - bar.n)
            view = functools.cache(lambda at=progress: loop.snapshot(at, objective, parts.rule, batches_of))
            left = [record for record in left if not record(progress, view)]


def _recorder(cell: Running, members: slice, cells: int) -> Callable[[loop.Progress, Callable[[], Snapshot]], bool]:
    """``record(progress, view)`` writes what is due of a cell at a step of its team; returns whether the cell is done.

    ``members`` are the cell's own, of the progress of its team of ``cells`` and of what ``view()`` shows.
    """
    config, parts, file = cell.config, cell.parts, cell.folder / "metrics.jsonl"
    steps, marks = config["steps"], stopping.measured(config["steps"], config["snapshots"])
    saved_at, written = time.monotonic(), file.stat().st_size if file.exists() else 0
    on_the_way = 0.0

    def record(team: loop.Progress, view: Callable[[], Snapshot]) -> bool:
        nonlocal saved_at, written, on_the_way
        over = team.step >= steps or bool(team.ended[members].all())
        marked = (team.step in marks or team.step in team.matched_at[members]) and not over
        marked = marked and not (cell.resumed and team.step == cell.begin.step)
        due = over or time.monotonic() - saved_at >= config["checkpoint_every"]
        if not (marked or due):
            return False
        began = time.thread_time()
        progress = loop.of_members(members, team)
        if marked:
            rows = measure(loop.of_members(members, view()), progress, config, parts.measurements, final=False)
            written = store.append(file, rows)
            cell.mirror.log(rows)
        if due:
            store.replace(cell.folder / "checkpoint.pt", checkpoint.content(progress, written), sync=True)
            _beat(cell.folder, config, {"step": progress.step})
            saved_at = time.monotonic()
        on_the_way += time.thread_time() - began
        if over:
            began = time.thread_time()
            every = parts.measurements + parts.last
            rows = measure(loop.of_members(members, view()), progress, config, every, final=True)
            store.append(file, rows)
            cell.mirror.log(rows)
            seconds, at_the_end = (time.monotonic() - cell.since) / cells, time.thread_time() - began
            _conclude(cell, rows, {"seconds": seconds, "on_the_way": on_the_way, "at_the_end": at_the_end})
        return over

    return record


def _conclude(cell: Running, rows: Sequence[Mapping[str, Any]], spent: Mapping[str, float]) -> None:
    """Write how the cell ended, of whose members ``rows`` are the last ones.

    ``spent`` is its share of the seconds it took, and of them what measuring and recording took, on the way and at the
    end, in seconds of the processor.
    """
    members = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
    summary = {"experiment": cell.config["name"], "cell": cell.folder.name, "steps": rows[0]["step"]}
    store.write_json(cell.folder / "summary.json", summary | {"members": members})
    cell.mirror.summary(wandb_run.history_entry(rows))
    outcome = {
        "state": "done",
        "converged": sum(row["converged"] for row in rows),
        "diverged": sum(row["diverged"] for row in rows),
        "members": len(rows),
        "record": store.fingerprint(cell.folder),
        **{what: round(seconds, 2) for what, seconds in spent.items()},
        "ended": _now(),
    }
    store.write_json(cell.folder / "status.json", outcome)
    _note(cell.folder / "run.log", f"done: {outcome}")


def measure(
    view: Snapshot,
    progress: loop.Progress,
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
    with naming(log), log.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")
