"""Open W&B runs, which are copies of the files of cells; the only file that imports wandb.

W&B calls run in a background thread, so that failures never affect training. The first failure in a process is a
warning. A mode that failed is replaced by the next of online → offline → disabled for the rest of the process.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from threading import Thread
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args

from src.errors import ConfigError, writing_in
from src.results.store import Row

Mode = Literal["online", "offline", "disabled"]
MODES = get_args(Mode)
PATIENCE = 10.0
"""Seconds to wait for the server, at the start and at the end of a run."""
_logger = logging.getLogger(__name__)
_failed: set[Mode] = set()
_problems: list[str] = []
_STAGING = [name for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR") if name not in os.environ]
"""Variables for the folders of tables and artifacts before upload: beside the runs, unless the user sets them."""
_ACCOUNT = """api_key base_url app_url_override entity organization email username anonymous credentials_file
identity_token_file insecure_disable_ssl http_proxy https_proxy login_timeout settings_system label_disable""".split()
"""Settings that the environment or W&B's settings file may change: the server and the account."""


class Mirror(NamedTuple):
    """One W&B run; only ``finish`` waits for W&B, and errors of W&B are never raised.

    ``send(call)`` calls ``call(wandb, run)`` in the run's thread. ``finish(exit_code=0)`` ends the run, as failed
    unless the code is 0, and returns within ``PATIENCE`` + 2 s even if W&B does not respond.
    """

    send: Callable[[Callable[[Any, Any], object]], None]
    finish: Callable[..., None]
    time_per_step: float | None = None

    def log(self, rows: Sequence[Row]) -> None:
        """Add the rows of one step, one per member: see ``history_entry``."""
        self.send(lambda wandb, run: run.log(history_entry(rows, self.time_per_step)))

    def summary(self, values: Mapping[str, object]) -> None:
        """Set values of the run's summary."""
        self.send(lambda wandb, run: run.summary.update(dict(values)))


SILENT = Mirror(send=lambda call: None, finish=lambda exit_code=0: None)
"""The disabled run."""


def open_run(mode: Mode, directory: str | Path, *, time_per_step: float | None = None, **about: Any) -> Mirror:
    """Open a W&B run under ``directory/wandb/``.

    Args:
        mode: ``online`` takes the key from WANDB_API_KEY or netrc and the server from WANDB_BASE_URL.
        directory: the folder of all results.
        time_per_step: see ``history_entry``.
        about: arguments of ``wandb.init``, with an ``id``. A run *replaces* an earlier one with the same id, so the
            earlier rows of a resumed cell must be logged again.
    """
    if _usable(mode) == "disabled":
        return SILENT
    calls: SimpleQueue = SimpleQueue()
    about |= {"dir": str(directory), "tags": [tag[:64] for tag in about.get("tags", ())]}  # W&B's limit
    thread = Thread(target=_drain, args=(calls, mode, about), name=f"W&B {about['id']}", daemon=True)
    thread.start()

    def finish(exit_code: int = 0) -> None:
        calls.put(exit_code)
        thread.join(PATIENCE + 2)
        if thread.is_alive():
            _failed.add(_usable(mode))
            _warn(f"no answer within {PATIENCE + 2:g} s")

    return Mirror(calls.put, finish, time_per_step)


def account() -> str:
    """Return the W&B account of the key.

    Raises:
        ConfigError: without a key, or if the server does not respond.
    """
    wandb = _import()
    if not wandb.login(prompt=False, verify=False):
        allowed = "needs a key in WANDB_API_KEY or netrc (`wandb login`), and WANDB_MODE=online or not set"
        raise ConfigError("W&B", "no key", allowed)
    try:
        return wandb.Api(timeout=10).default_entity
    except Exception as error:
        raise ConfigError("W&B", "no answer", str(error).partition("\n")[0]) from error


def history_entry(rows: Sequence[Row], time_per_step: float | None = None) -> dict[str, float]:
    """Return the W&B history entry of one step, from one row per member.

    Every finite number of a row is ``seed<seed>/<name>`` (``seed<seed>.<member>/<name>`` where members share a
    seed). Their mean over the members is ``<name>``, their range ``min/<name>`` to ``max/<name>``. ``decades`` is
    −log₁₀ of the risk, ``flow_time`` the gradient-flow time if ``time_per_step`` is known. Curves, texts, NaN and ±inf
    are left out: metrics.jsonl has them.

    >>> history_entry([{"step": 8, "member": m, "seed": 3 + m, "margin": m, "curve": [1.0]} for m in (0, 1)])
    {'step': 8, 'margin': 0.5, 'min/margin': 0.0, 'max/margin': 1.0, 'seed3/margin': 0.0, 'seed4/margin': 1.0}
    """
    sharing = Counter(row["seed"] for row in rows)
    by_member: dict[str, float] = {}
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        prefix = f"seed{row['seed']}" + (f".{row['member']}" if sharing[row["seed"]] > 1 else "")
        decades = {"decades": -row["log_risk"] / math.log(10)} if "log_risk" in row else {}
        for name, value in (dict(row) | decades).items():
            is_measured = name not in ("step", "member", "seed", "final", "matched") and isinstance(value, numbers.Real)
            if is_measured and math.isfinite(value):
                by_member[f"{prefix}/{name}"] = float(value)
                values[name].append(float(value))
    entry = {"step": rows[0]["step"]}
    if time_per_step is not None:
        entry["flow_time"] = time_per_step * rows[0]["step"]
    statistics: dict[str, Callable[[list[float]], float]] = {"": fmean, "min/": min, "max/": max}
    for prefix, statistic in statistics.items():
        entry |= {f"{prefix}{name}": statistic(over_members) for name, over_members in values.items()}
    return entry | by_member


def _drain(calls: SimpleQueue, mode: Mode, about: Mapping[str, Any]) -> None:
    """Call the queued functions, in the first mode that works, until the queue yields an exit code."""
    while (mode := _usable(mode)) != "disabled":
        try:
            wandb, run = _start(mode, about)
        except Exception as error:
            _give_up(mode, error)
            continue
        while callable(call := calls.get()):
            try:
                call(wandb, run)
            except Exception as error:
                _warn(error)
        try:
            run.finish(call)
        except Exception as error:
            _give_up(mode, error)
        return


def _start(mode: Mode, about: Mapping[str, Any]) -> tuple[Any, Any]:
    folder = Path(about["dir"]) / "wandb"
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else an unreachable server delays the exit of the process
    os.environ |= dict.fromkeys(_STAGING, str(folder))
    wandb = _import()
    for needed in (folder, os.environ["WANDB_DATA_DIR"], os.environ["WANDB_CACHE_DIR"]):
        with writing_in(needed):  # else W&B prints its log on the terminal
            Path(needed).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=needed).close()
    settings = wandb.Settings(
        mode=mode, silent=True, reinit="create_new",  # create_new: a run never merges with one still open
        init_timeout=PATIENCE, finish_timeout=PATIENCE, finish_timeout_raises=True, x_service_wait=PATIENCE,
        x_transaction_log_flush_interval=1,  # config and rows reach the disk even if the process is killed
        console="off", save_code=False, disable_code=True, disable_git=True, disable_job_creation=True,
        x_save_requirements=False, x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
        host="", program="src.run",  # no names of machines and folders
    )  # fmt: skip
    session = wandb.setup(settings)
    for name, field in type(settings).model_fields.items():  # e.g. WANDB_SWEEP_ID would change the run's id
        if name not in settings.model_fields_set and name not in _ACCOUNT and not name.startswith("x_"):
            setattr(session.settings, name, field.get_default(call_default_factory=True))
    wandb.termsetup(settings, SimpleNamespace(info=_logger.debug, warning=_warn, error=_warn))
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise PermissionError("no API key in WANDB_API_KEY or netrc")
    # W&B cannot resume offline: a second run of one id is a second folder, and `wandb sync` uploads one over the other.
    for earlier in folder.glob(f"*run-????????_??????-{glob.escape(about['id'])}"):
        shutil.rmtree(earlier, ignore_errors=True)
    run = wandb.init(**about, settings=settings)
    run.define_metric("*", step_metric="step")
    return wandb, run


def _import() -> Any:
    if os.environ.get("WANDB_MODE") not in ("online", "offline", "disabled", "dryrun", "run", "shared"):
        os.environ.pop("WANDB_MODE", None)  # W&B refuses to start with an unknown mode
    import wandb

    return wandb


def _usable(mode: Mode) -> Mode:
    return next((candidate for candidate in MODES[MODES.index(mode) :] if candidate not in _failed), "disabled")


def _give_up(mode: Mode, error: Exception) -> None:
    _failed.add(mode)
    _warn(f"{mode}: {error or type(error).__name__}")
    with contextlib.suppress(Exception):  # else later runs would use the same, perhaps crashed, wandb-core
        _import().teardown()


def _warn(problem: object) -> None:
    _problems.append(str(problem))
    advice = "to upload the missing data later, run `wandb sync --include-online` in the outputs folder"
    text = f"W&B: {str(problem).partition(chr(10))[0]} (results are unaffected; {advice})"
    _logger.log(logging.DEBUG if len(_problems) > 1 else logging.WARNING, text)
