"""The W&B mirror of a cell: a copy of its files for browsing, never their replacement.

W&B may be slow, unreachable or broken, and training must not notice. So a mirror is a queue that a thread of its
own drains: every call returns at once, trouble is told once per process, and a mode that failed gives way to the
lesser one, online → offline → disabled, for the rest of the process. The only file that imports wandb.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import math
import numbers
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from threading import Thread
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

Mode = Literal["online", "offline", "disabled"]
Call = Callable[[Any, Any], Any]
"""``(wandb, run) -> ignored``: one thing to be done to the W&B run, in the mirror's thread."""

_logger = logging.getLogger(__name__)
_lesser: dict[Mode, Mode] = {"online": "offline", "offline": "disabled"}
_lost: set[Mode] = set()
"""Modes that failed in this process, and are not tried again."""
_STAGED = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")
_staging: dict[str, str] = {}
"""Variables by which this process has told W&B where to stage what is to be uploaded."""
_ACCOUNT = (
    "api_key", "base_url", "app_url_override", "entity", "organization", "email", "username", "anonymous",
    "credentials_file", "identity_token_file", "insecure_disable_ssl", "http_proxy", "https_proxy",
    "login_timeout", "settings_system", "label_disable",
)  # fmt: skip
"""Settings that a user's environment or W&B's own settings file may choose: where the server is, and who is asking."""
_trouble: list[str] = []
"""All that went wrong with W&B in this process; the first of it was told as a warning."""


class Mirror(NamedTuple):
    """One W&B run. Every method but ``finish`` returns at once, and none raises for what W&B does."""

    send: Callable[[Call], None]
    close: Callable[[int], None]
    time_per_step: float | None = None

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows of one step, one per member: see ``history_entry``."""
        self.send(lambda wandb, run: run.log(history_entry(rows, self.time_per_step)))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set values of the run's summary: what is shown for the run as a whole."""
        self.send(lambda wandb, run: run.summary.update(dict(values)))

    def image(self, key: str, path: str | Path) -> None:
        """Show a PNG or JPEG file under ``key``."""
        self.send(lambda wandb, run: run.log({key: wandb.Image(str(path))}))

    def table(self, key: str, table: Any) -> None:
        """Show a pandas DataFrame, or records (a list of dicts), under ``key``, as a table to sort and filter."""
        self.send(lambda wandb, run: run.log({key: wandb.Table(dataframe=_frame(table))}))

    def artifact(self, name: str, kind: str, files: Iterable[str | Path], about: Mapping[str, Any]) -> None:
        """Keep the files as a version of the artifact ``name``; they must stay as they are until the upload."""
        self.send(lambda wandb, run: _keep(wandb, run, name, kind, [Path(file) for file in files], about))

    def finish(self, exit_code: int = 0) -> None:
        """End the run, as failed unless ``exit_code`` is 0; returns within ``patience`` + 2 s even if W&B hangs."""
        self.close(exit_code)


SILENT = Mirror(send=lambda call: None, close=lambda exit_code: None)
"""The disabled mirror: the same thing, doing nothing."""


def open_run(
    mode: Mode,
    directory: str | Path,
    *,
    run_id: str,
    project: str,
    name: str,
    group: str,
    job_type: str,
    tags: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
    time_per_step: float | None = None,
    patience: float = 10.0,
) -> Mirror:
    """Mirror one cell as one W&B run, kept under ``directory/wandb/``.

    ``online`` takes the key from WANDB_API_KEY or netrc and the server from WANDB_BASE_URL; ``patience`` (seconds)
    bounds the wait for the server, at the start and at the end. ``run_id`` names the run on the server for ever:
    the same id (a cell resumed or run again) *replaces* what is there, so log the earlier rows of a resumed cell
    again, from its metrics.jsonl. A second id makes a second run. ``time_per_step`` is that of ``history_entry``.
    """
    mode = _usable(mode)
    if mode == "disabled":
        return SILENT
    about = {
        "id": run_id, "project": project, "name": name, "group": group, "job_type": job_type,
        "tags": [tag[:64] for tag in tags],  # the longest tag W&B takes
        "config": dict(config or {}), "dir": str(directory),
    }  # fmt: skip
    calls: SimpleQueue[Call | None] = SimpleQueue()
    thread = Thread(target=_drain, args=(calls, mode, about, patience), name=f"W&B {run_id}", daemon=True)
    thread.start()

    def close(exit_code: int) -> None:
        calls.put(lambda wandb, run: _finish(wandb, run, exit_code))
        calls.put(None)
        thread.join(patience + 2)
        if thread.is_alive():
            _lost.add(_usable(mode))
            _tell(f"no answer within {patience + 2:g} s")

    return Mirror(calls.put, close, time_per_step)


def _drop_unknown_mode() -> None:
    """Unset a WANDB_MODE that W&B does not have, an empty one say: it would refuse to start, whatever it is given."""
    if os.environ.get("WANDB_MODE") not in ("online", "offline", "disabled", "dryrun", "run", "shared"):
        os.environ.pop("WANDB_MODE", None)


def account() -> str:
    """Whose W&B account the key is of.

    Raises:
        RuntimeError: without a key, or without an answer.
    """
    _drop_unknown_mode()
    import wandb

    if not wandb.login(prompt=False, verify=False):
        raise RuntimeError("no API key in WANDB_API_KEY or netrc, or WANDB_MODE is not online")
    try:
        return wandb.Api(timeout=10).default_entity
    except Exception as error:
        raise RuntimeError(f"W&B: {str(error).partition(chr(10))[0]}") from error


def history_entry(rows: Sequence[Mapping[str, Any]], time_per_step: float | None = None) -> dict[str, float]:
    """The W&B history entry of one step, from one row per member.

    Every finite number of a row appears as ``seed<seed>/<name>`` (``seed<seed>.<member>/<name>`` where members
    share a seed), and over the members for which it is finite as their mean, under its plain name, and their range,
    ``min/<name>`` to ``max/<name>``. ``decades`` is −log₁₀ of the risk and, where a step stands for a fixed
    time of gradient flow, ``flow_time`` that time: what runs are compared at. Curves, texts, NaN and ±inf are left
    out: metrics.jsonl has them.

    >>> history_entry([{"step": 8, "member": m, "seed": 3 + m, "margin": m, "curve": [1.0]} for m in (0, 1)])
    {'step': 8, 'margin': 0.5, 'min/margin': 0.0, 'max/margin': 1.0, 'seed3/margin': 0.0, 'seed4/margin': 1.0}
    """
    sharing = Counter(row["seed"] for row in rows)
    own: dict[str, float] = {}
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        member = f"seed{row['seed']}" + (f".{row['member']}" if sharing[row["seed"]] > 1 else "")
        loss = {"decades": -row["log_risk"] / math.log(10)} if "log_risk" in row else {}
        for name, value in (dict(row) | loss).items():
            if name in ("step", "member", "seed", "final") or not isinstance(value, numbers.Real):
                continue
            if math.isfinite(value):
                own[f"{member}/{name}"] = float(value)
                values[name].append(float(value))
    entry = {"step": rows[0]["step"]}
    if time_per_step is not None:
        entry["flow_time"] = time_per_step * rows[0]["step"]
    entry |= {name: fmean(of_members) for name, of_members in values.items()}
    for end in (min, max):
        entry |= {f"{end.__name__}/{name}": end(of_members) for name, of_members in values.items()}
    return entry | own


def _drain(calls: SimpleQueue, mode: Mode, about: dict[str, Any], patience: float) -> None:
    """Do the calls to a W&B run in the best mode that works; runs in the mirror's thread."""
    while (mode := _usable(mode)) != "disabled":
        try:
            wandb, run = _start(mode, about, patience)
        except Exception as error:
            _lose(mode, error)
            continue
        for call in iter(calls.get, None):
            try:
                call(wandb, run)
            except Exception as error:
                _tell(error)
        return


def _start(mode: Mode, about: dict[str, Any], patience: float) -> tuple[Any, Any]:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # or a dead server holds up the exit of the process
    _stage_in(Path(about["dir"]) / "wandb")
    _drop_unknown_mode()
    import wandb

    for folder in (Path(about["dir"]) / "wandb", *(Path(os.environ[name]) for name in _STAGED)):
        _refuse_unwritable(folder)
    settings = wandb.Settings(
        mode=mode, silent=True, reinit="create_new",  # create_new: a run never merges with one still open
        init_timeout=patience, finish_timeout=patience, finish_timeout_raises=True, x_service_wait=patience,
        x_transaction_log_flush_interval=1,  # config and rows reach the disk even if the process is killed
        console="off", save_code=False, disable_code=True, disable_git=True, disable_job_creation=True,
        x_save_requirements=False, x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
        host="", program="src.run",  # no names of machines and folders
    )  # fmt: skip
    _ignore_environment(wandb, settings)
    wandb.termsetup(settings, SimpleNamespace(info=_logger.debug, warning=_tell, error=_tell))
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise PermissionError("no API key in WANDB_API_KEY or netrc")
    _remove_earlier(Path(about["dir"]) / "wandb", about["id"])
    run = wandb.init(**about, settings=settings)
    run.define_metric("*", step_metric="step")
    if mode == "online":
        _logger.info("W&B: %s", run.url)
    return wandb, run


def _ignore_environment(wandb: Any, settings: Any) -> None:
    """Start W&B with ``settings``, and with its defaults where the environment would choose anything but an account.

    WANDB_SWEEP_ID alone makes W&B drop the id and the project that ``init`` is given. A setting that is None is no
    override to W&B, so the defaults are put in place after it has read the environment.
    """
    session = wandb.setup(settings)
    for name, field in type(settings).model_fields.items():
        if name not in settings.model_fields_set and name not in _ACCOUNT and not name.startswith("x_"):
            setattr(session.settings, name, field.get_default(call_default_factory=True))


def _stage_in(folder: Path) -> None:
    """Tables and artifacts wait for their upload beside the runs, unless a person has said where."""
    for variable in _STAGED:
        if os.environ.get(variable) == _staging.get(variable):
            _staging[variable] = os.environ[variable] = str(folder)


def _refuse_unwritable(folder: Path) -> None:
    """Raise an OSError for a folder that cannot be written: W&B would print its own log on the terminal instead."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from error


def _finish(wandb: Any, run: Any, exit_code: int) -> None:
    try:
        run.finish(exit_code)
    except Exception as error:
        _lose(run.settings.mode, error)


def _remove_earlier(folder: Path, run_id: str) -> None:
    # Offline, W&B cannot resume: the same id twice makes two folders, and `wandb sync` lets the one replace the
    # other. The new folder gets all rows of the cell again, so dropping the old one leaves each run once and whole.
    for earlier in folder.glob(f"*run-????????_??????-{glob.escape(run_id)}"):
        shutil.rmtree(earlier, ignore_errors=True)


def _usable(mode: Mode) -> Mode:
    while mode in _lost:
        mode = _lesser[mode]
    return mode


def _lose(mode: Mode, error: Exception) -> None:
    _lost.add(mode)
    _tell(f"{mode}: {error or type(error).__name__}")
    with contextlib.suppress(Exception):  # else every later run would meet the same, perhaps crashed, wandb-core
        import wandb

        wandb.teardown()


def _tell(trouble: object) -> None:
    _trouble.append(str(trouble))
    level = logging.DEBUG if len(_trouble) > 1 else logging.WARNING
    what = str(trouble).partition("\n")[0]
    advice = "to upload what is missing, later: `wandb sync --include-online` in the outputs folder"
    _logger.log(level, "W&B: %s (results are unaffected; %s)", what, advice)


def _frame(table: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(table)


def _keep(wandb: Any, run: Any, name: str, kind: str, files: Sequence[Path], about: Mapping[str, Any]) -> None:
    artifact = wandb.Artifact(name, kind, metadata=dict(about))
    for file in files:
        artifact.add_file(str(file), policy="immutable", skip_cache=True)  # else a copy in the home directory
    run.log_artifact(artifact)
