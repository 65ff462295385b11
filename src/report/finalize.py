"""Judge the claims, write the report, print the verdicts and mirror them to W&B, from the files of cells."""

from __future__ import annotations

import errno
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from src.claims import deviations, verdicts
from src.claims import schema as claim_schema
from src.claims.results import ClaimResult
from src.config import sweep
from src.config.papers import Paper, file_name
from src.config.schema import Config
from src.errors import ConfigError, unwritable
from src.report import index_page, paper_page, terminal
from src.report.remembered import remembered
from src.results import provenance, store, wandb_mirror
from src.results.frames import Frames

if TYPE_CHECKING:
    import pandas

Log = Callable[[str], None]
T = TypeVar("T")

INCIDENTAL = (
    "experiment", "profile", "outputs", "data.folder", "tracking", "force", "report", "checkpoint_every",
    "hydra", "launcher", "device", "memory_gb",
)  # fmt: skip
"""Keys, with those below them, that can be overridden without changing which experiment is run."""


def paper(key: Paper, sweeps: Mapping[str, Sequence[Config]], overrides: Sequence[str], log: Log) -> int:
    """Report on a paper from all its experiments (name → configs of its cells); return the exit code.

    0: every cell is done; 1: cells are missing or failed, as the report shows; 2: the report could not be written.
    """
    claims, from_paper = claim_schema.load(key), deviations.load(key)
    return _finalize(key, sweeps, overrides, file_name(key), claims, from_paper, log)


def experiments(sweeps: Mapping[str, Sequence[Config]], overrides: Sequence[str], log: Log) -> int:
    """Report on one or some experiments, with the claims and deviations that use them; return as ``paper``."""
    key, names = next(iter(sweeps.values()))[0].paper, set(sweeps)
    claims = [] if key is None else [claim for claim in claim_schema.load(key) if names & set(claim.experiments)]
    from_paper = [] if key is None else deviations.load(key)
    shown = [entry for entry in from_paper if entry.effect and names & set(entry.effect.experiments)]
    title = "-".join(sweeps) if key is None or len(names) == 1 else "-".join([file_name(key), *sweeps])
    return _finalize(key, sweeps, overrides, title, claims, shown, log, note_absent=False)


def _finalize(
    key: Paper | None,
    sweeps: Mapping[str, Sequence[Config]],
    overrides: Sequence[str],
    title: str,
    claims: Sequence[claim_schema.Claim],
    from_paper: Sequence[deviations.Deviation],
    log: Log,
    note_absent: bool = True,
) -> int:
    config = next(iter(sweeps.values()))[0]
    done = {name: [cell for cell in (config.folder for config in configs) if store.finished(cell)]
            for name, configs in sweeps.items()}  # fmt: skip
    done = {name: cells for name, cells in done.items() if cells}
    total, finished = sum(map(len, sweeps.values())), sum(map(len, done.values()))
    _log_failures(sweeps, log)
    _log_changed_code([cell for cells in done.values() for cell in cells], log)
    is_complete = True
    if finished and key is not None and config.report:
        folder = paper_page.folder_of(Path(config.outputs), title, config.profile, _mark(overrides))
        frames = Frames(done)
        planned = {name: len({config.folder for config in configs}) for name, configs in sweeps.items()}
        others = {name: sweep.other_protocol(configs, overrides) for name, configs in sweeps.items()}
        with remembered(folder / ".numbers.json", done) as judge_number:
            judged = _judge(claims, frames, planned, others, judge_number)
            log(terminal.verdicts(judged))  # first, since everything after it can fail

            def write() -> bool:
                effects = deviations.measure(from_paper, frames, judge_number)
                commands = _commands(sweeps, overrides)
                built = paper_page.build(key, folder, frames, done, commands, judged, effects, note_absent=note_absent)
                log(f"report: {built.page}")
                return built.changed

            changed, is_complete = _attempt("report", folder, write, log)
        if changed:
            plain = paper_page.plain(judged)
            _attempt("W&B", folder, lambda: wandb_mirror.log_report(config, folder, title, plain), log)
            _, is_complete = _attempt("index", folder.parent, lambda: index_page.write(Path(config.outputs)), log)
    if key is None and config.report:
        log(terminal.numbers({cell.name: store.rows(cell) for cells in done.values() for cell in cells}))
    where = Path(config.outputs) / (next(iter(sweeps)) if len(sweeps) == 1 else "")
    log(f"{finished} of {total} cells done; results in {where}")
    return 1 if finished < total else 0 if is_complete else 2


def _attempt(name: str, folder: Path, action: Callable[[], T], log: Log) -> tuple[T | None, bool]:
    """Return the result of ``action``, and whether it succeeded; log an error as one line, never raise it.

    A read-only folder counts as a success.
    """
    try:
        return action(), True
    except Exception as error:
        log(_error_line(name, folder, error))
        return None, isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS


def _error_line(name: str, folder: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return str(unwritable(name, folder, error))
    if isinstance(error, ConfigError):
        return f"{name}: {error}"
    return f"{name}: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _judge(
    claims: Sequence[claim_schema.Claim],
    frames: Mapping[str, pandas.DataFrame],
    planned: Mapping[str, int],
    others: Mapping[str, Mapping[str, str]],
    judge_number: verdicts.JudgeNumber,
) -> list[ClaimResult]:
    """Return the verdicts; a claim on cells of another protocol has its numbers but no verdict.

    ``others`` is experiment → result of ``sweep.other_protocol``. A claim that selects rows by the name of a component
    (``optimizer_name``) allows other components.
    """
    judged = []
    for claim in claims:
        conditions = " ".join(f"{number.rows} {number.baseline}" for number in claim.numbers)
        reasons = [reason for name in claim.experiments for group, reason in others.get(name, {}).items()
                   if f"{group}_name" not in conditions]  # fmt: skip
        measured = claim.without_minimum() if reasons else claim
        (result,) = verdicts.judge([measured], frames, planned, judge_number)
        judged.append(verdicts.unjudged(result, f"made for {reasons[0]}") if reasons else result)
    return judged


def _log_failures(sweeps: Mapping[str, Sequence[Config]], log: Log) -> None:
    for configs in sweeps.values():
        for cell in (config.folder for config in configs):
            if (status := store.status(cell))["state"] == "failed":
                log(f"FAILED {cell}: {status['reason']}")


def _log_changed_code(cells: Sequence[Path], log: Log) -> None:
    """Log how many cells were computed before code that affects their numbers changed."""
    changed = {cell: provenance.changed_since((store.read_json(cell / "provenance.json") or {}).get("code", {}))
               for cell in cells}  # fmt: skip
    if count := sum(map(bool, changed.values())):
        files = sorted({name for names in changed.values() for name in names})[:4]
        cause = f"{', '.join(files)} {'has' if len(files) == 1 else 'have'} changed"
        log(f"{count} of {len(cells)} cells are out of date ({cause}). Use force=true to recompute them.")


def _mark(overrides: Sequence[str]) -> str | None:
    """Return a hash of the overrides that are not incidental; None if there are none."""
    relevant = [word for word in overrides if not _is_incidental(word)]
    return hashlib.sha256(" ".join(sorted(relevant)).encode()).hexdigest()[:8] if relevant else None


def _is_incidental(override: str) -> bool:
    """Return whether the override's key is one of ``INCIDENTAL``, or below one.

    >>> [_is_incidental(word) for word in ("profile=smoke", "hydra/launcher=ray", "tracking.mode=online")]
    [True, True, True]
    >>> _is_incidental("profiles.smoke.data.d=256")
    False
    """
    key = override.lstrip("+~").partition("=")[0]
    return any(key == name or key.startswith((f"{name}.", f"{name}/")) for name in INCIDENTAL)


def _commands(names: Iterable[str], overrides: Sequence[str]) -> dict[str, str]:
    """Return experiment → the command that runs it, without settings of one machine or one run."""
    left_out = ("experiment=", "report=", "force=", "tracking.", *sweep.CHOOSING)
    kept = [word for word in overrides if not word.lstrip("+").startswith(left_out)]
    return {
        name: provenance.without_folders(shlex.join(["python", "-m", "src.run", f"+experiment={name}", *kept]))
        for name in names
    }
