"""After the cells: judge the claims, draw the report, show the verdicts, mirror the figures. Files in, files out."""

from __future__ import annotations

import errno
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.claims import deviations, verdicts
from src.claims import schema as claim_schema
from src.claims.results import ClaimResult
from src.config import sweep
from src.config.schema import Config
from src.errors import ConfigError, unwritable
from src.report import index_page, paper_page
from src.results import provenance, store, wandb_mirror

if TYPE_CHECKING:
    import pandas

Say = Callable[[str], None]

INCIDENTAL = (
    "experiment", "profile", "outputs", "data.folder", "tracking", "force", "report", "checkpoint_every",
    "hydra", "launcher", "device", "memory_gb",
)  # fmt: skip
"""Keys, each with those below it, whose overrides leave an experiment the one its file defines."""


def paper(number: int, sweeps: Mapping[str, Sequence[Config]], overrides: Sequence[str], say: Say) -> int:
    """Conclude a paper from all its experiments (name → configs of its cells); returns the exit code.

    0: every cell is done; 1: some are missing or failed, and the report says so; 2: the report could not be made.
    """
    return _conclude(
        number, sweeps, overrides, f"paper{number}", claim_schema.load(number), deviations.load(number), say
    )


def experiment(configs: Sequence[Config], overrides: Sequence[str], say: Say) -> int:
    """Conclude one experiment, with the claims and effects that rest on it; the exit code as for ``paper``."""
    name, number = configs[0].name, configs[0].paper
    judged = [] if number is None else [claim for claim in claim_schema.load(number) if name in claim.experiments]
    from_paper = [] if number is None else deviations.load(number)
    shown = [each for each in from_paper if each.effect and name in each.effect.experiments]
    return _conclude(number, {name: configs}, overrides, name, judged, shown, say, note_absent=False)


def _conclude(
    number: int | None,
    sweeps: Mapping[str, Sequence[Config]],
    overrides: Sequence[str],
    title: str,
    wanted: Sequence[claim_schema.Claim],
    from_paper: Sequence[deviations.Deviation],
    say: Say,
    note_absent: bool = True,
) -> int:
    config = next(iter(sweeps.values()))[0]
    done = {name: [cell for cell in (config.folder for config in configs) if store.finished(cell)]
            for name, configs in sweeps.items()}  # fmt: skip
    done = {name: cells for name, cells in done.items() if cells}
    total, finished = sum(map(len, sweeps.values())), sum(map(len, done.values()))
    _log_failures(sweeps, say)
    _log_changed_code([cell for cells in done.values() for cell in cells], say)
    whole = True
    if finished and number is not None and config.report:
        folder = paper_page.folder_of(Path(config.outputs), title, config.profile, _mark(overrides))
        frames = {name: store.frame(cells) for name, cells in done.items()}
        planned = {name: len({config.folder for config in configs}) for name, configs in sweeps.items()}
        others = {name: sweep.other_protocol(configs, overrides) for name, configs in sweeps.items()}
        judged = _judged(wanted, frames, planned, others)
        say(paper_page.terminal_table(judged))  # before anything that can fail and is not needed for it

        def show() -> bool:
            effects, commands = deviations.measure(from_paper, frames), _commands(sweeps, overrides)
            built = paper_page.build(number, folder, frames, done, commands, judged, effects, note_absent=note_absent)
            say(f"report: {built.page}")
            return built.changed

        changed, whole = _attempt("report", folder, show, say)
        if changed:
            plain = paper_page.plain(judged)
            _attempt("W&B", folder, lambda: wandb_mirror.log_report(config, folder, title, plain), say)
            _, whole = _attempt("index", folder.parent, lambda: index_page.write(Path(config.outputs)), say)
    where = Path(config.outputs) / (next(iter(sweeps)) if len(sweeps) == 1 else "")
    say(f"{finished} of {total} cells done; results in {where}")
    return 1 if finished < total else 0 if whole else 2


def _attempt(what: str, folder: Path, action: Callable[[], Any], say: Say) -> tuple[Any, bool]:
    """What ``action`` returns, and whether it did what can be done; why not is said in one line, never raised.

    A folder of somebody else's that can be read only leaves nothing to be done.
    """
    try:
        return action(), True
    except Exception as error:
        say(_in_a_line(what, folder, error))
        return None, isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS


def _in_a_line(what: str, folder: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return str(unwritable(what, folder, error))
    if isinstance(error, ConfigError):
        return f"{what}: {error}"
    return f"{what}: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _judged(
    wanted: Sequence[claim_schema.Claim],
    frames: Mapping[str, pandas.DataFrame],
    planned: Mapping[str, int],
    others: Mapping[str, Mapping[str, str]],
) -> list[ClaimResult]:
    """Return the verdicts; a claim that rests on cells of another protocol has its numbers and no verdict.

    ``others`` are, by experiment, what ``sweep.other_protocol`` gives. A claim that selects rows by the name of an
    optimizer (or of data, a model, an objective) is made for that one.
    """
    judged = []
    for claim, result in zip(wanted, verdicts.judge(wanted, frames, planned), strict=True):
        conditions = " ".join(f"{number.rows} {number.baseline}" for number in claim.numbers)
        reasons = [reason for name in claim.experiments for group, reason in others.get(name, {}).items()
                   if f"{group}_name" not in conditions]  # fmt: skip
        judged.append(verdicts.unjudged(result, f"made for {reasons[0]}") if reasons else result)
    return judged


def _log_failures(sweeps: Mapping[str, Sequence[Config]], say: Say) -> None:
    for configs in sweeps.values():
        for cell in (config.folder for config in configs):
            if (status := store.status(cell))["state"] == "failed":
                say(f"FAILED {cell}: {status['reason']}")


def _log_changed_code(cells: Sequence[Path], say: Say) -> None:
    """Say which cells were computed by other code than the present one: finished is not the same as current."""
    changed = {cell: provenance.changed_since((store.read_json(cell / "provenance.json") or {}).get("code", {}))
               for cell in cells}  # fmt: skip
    if count := sum(map(bool, changed.values())):
        files = ", ".join(sorted({name for names in changed.values() for name in names})[:4])
        say(f"note: {count} of {len(cells)} cells were computed before {files} changed; force=true runs them anew")


def _mark(overrides: Sequence[str]) -> str | None:
    """A hash of what is overridden, less the incidental; None if that is nothing."""
    own = [word for word in overrides if not _is_incidental(word)]
    return hashlib.sha256(" ".join(sorted(own)).encode()).hexdigest()[:8] if own else None


def _is_incidental(override: str) -> bool:
    """Whether the override's key is one of ``INCIDENTAL``, or lies below one.

    >>> [_is_incidental(word) for word in ("profile=smoke", "hydra/launcher=ray", "tracking.mode=online")]
    [True, True, True]
    >>> _is_incidental("profiles.smoke.data.d=256")
    False
    """
    key = override.lstrip("+~").partition("=")[0]
    return any(key == name or key.startswith((f"{name}.", f"{name}/")) for name in INCIDENTAL)


def _commands(names: Iterable[str], overrides: Sequence[str]) -> dict[str, str]:
    """What a person types to run each experiment: anywhere, and once more."""
    own = ("experiment=", "report=", "force=", "tracking.", *sweep.CHOOSING)
    rest = [word for word in overrides if not word.lstrip("+").startswith(own)]
    return {
        name: provenance.without_folders(shlex.join(["python", "-m", "src.run", f"+experiment={name}", *rest]))
        for name in names
    }
