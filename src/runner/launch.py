"""Run the cells of a sweep with one of Hydra's launchers, the longest first; the others continue if a cell fails.

``launcher=basic|joblib|ray|submitit|submitit_local`` chooses one (``conf/launcher``). A job changes to the folder of
the command, composes its config and runs its cell with one thread. Progress and failures are read from the files of
the cells, so this works for cells on any machine.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import shutil
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig
from tqdm import tqdm

from src.claims import schema as claim_schema
from src.config import components, hydra_internals, schema, sweep
from src.config.overrides import first_of_sweeps
from src.config.schema import Config
from src.errors import CellError, ConfigError
from src.results import store
from src.runner.interrupts import ctrl_c_blocked, end_at_ctrl_c, noting_interrupts, setup_worker

Job = tuple[list[str], Config]
"""The overrides that compose a cell, and its checked config."""


FEW = 16
"""Smoke sweeps with fewer cells are faster without worker processes."""


tqdm.set_lock(threading.RLock())
"""tqdm's default lock includes a semaphore between processes, which an interrupted worker would leak."""


def log(line: str) -> None:
    """Print one line on stderr, above any progress bar; ignore a closed terminal."""
    with contextlib.suppress(BrokenPipeError):
        tqdm.write(line, file=sys.stderr)


def plain_warnings() -> None:
    """Print warnings as one line, without a file name."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


def command(overrides: Sequence[str], patch: Sequence[str] = ()) -> str:
    """Return the command line that runs the cell of these overrides on this machine.

    Overrides of the launcher are left out, and those of the profile's ``patch``, which ``profile=`` implies.
    """
    typed = [word for word in overrides if not word.startswith(sweep.CHOOSING) and word not in patch]
    return shlex.join(["python", "-m", "src.run", *typed])


def claims_on(config: Config) -> list[str]:
    """Return the ids of the claims that use the cell's experiment."""
    if config.paper is None:
        return []
    return [claim.id for claim in claim_schema.load(config.paper) if config.name in claim.experiments]


def run_cell(cfg: DictConfig) -> None:
    """Run the cell of a composed config; Hydra's launcher calls this, possibly in another process."""
    from src.runner import cell  # imported here, since torch takes two seconds

    hydra = HydraConfig.get()
    os.chdir(hydra.runtime.cwd)  # a relative `outputs` is relative to the folder of the command
    if multiprocessing.current_process().name.startswith("LokyProcess"):  # joblib's
        setup_worker()
        plain_warnings()
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        end_at_ctrl_c()
    config = schema.typed(schema.resolved(cfg))
    cell.run(config, command(hydra.overrides.task, sweep.patch_words(cfg)), claims_on(config), log)


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that must run: all of them with ``force``."""
    return [job for job in jobs if job[1].force or not store.finished(job[1].folder)]


def run(jobs: Sequence[Job], overrides: Sequence[str]) -> list[ConfigError]:
    """Run the cells of ``jobs``, of one experiment or several; ``overrides`` choose the launcher and its settings.

    Print a line for each cell that fails, and one if the launcher itself fails (a killed worker, a lost node); the same
    command then runs the remaining cells. Return the ConfigErrors that the cells raised, each printed once.

    Raises:
        ConfigError: for a launcher that cannot work on this machine.
    """
    words = [*first_of_sweeps(overrides), *_fallback(jobs, overrides)]
    longest_first = sorted(jobs, key=lambda job: -sweep.cost(job[1]))
    cells = [config.folder for _, config in jobs]
    GlobalHydra.instance().clear()
    with (
        initialize_config_dir(str(components.CONF), version_base="1.3", job_name="cell"),
        _watched(cells),
        noting_interrupts() as interrupted,
    ):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", words, run_mode=RunMode.MULTIRUN)
        name = master.hydra.runtime.choices["hydra/launcher"]
        if name == "submitit_slurm" and not shutil.which("sbatch"):
            allowed = "sbatch not found: needs Slurm; use launcher=submitit_local on this machine"
            raise ConfigError("launcher", "submitit", allowed)
        HydraConfig.instance().set_config(master)
        launcher = hydra_internals.launcher(loader, run_cell, master)
        try:
            with ctrl_c_blocked(name):
                ended = launcher.launch([words for words, _ in longest_first], initial_job_idx=0)
        except OSError:
            raise  # the folder of results cannot be written
        except Exception as error:
            if interrupted.is_set():
                raise KeyboardInterrupt from error  # the launcher replaced it with its own error
            reason = (str(error).strip().splitlines() or [""])[0]
            log(f"Launcher {name} failed: {type(error).__name__}: {reason}. Run the same command again to resume.")
            return []
    if interrupted.is_set():
        raise KeyboardInterrupt
    failures = [job._return_value for job in ended if job.status is JobStatus.FAILED]
    for failure in failures:
        if not isinstance(failure, ConfigError | CellError):
            raise failure
    mistakes = [error for error in failures if isinstance(error, ConfigError)]
    for line in dict.fromkeys(map(str, mistakes)):
        log(line)
    return mistakes


def _fallback(jobs: Sequence[Job], overrides: Sequence[str]) -> list[str]:
    """Return ``launcher=basic`` for a single cell, a small smoke sweep or a GPU, unless a launcher was chosen."""
    if any(word.startswith(sweep.CHOOSING) for word in overrides):
        return []
    configs = [config for _, config in jobs]
    few = len(configs) == 1 or (configs[0].profile == "smoke" and len(configs) < FEW)
    return ["launcher=basic"] if few or any(config.device == "cuda" for config in configs) else []


@contextlib.contextmanager
def _watched(cells: Sequence[Path]) -> Iterator[None]:
    """Show a progress bar over cells, and a line for each that fails, from their status files."""
    stopped, left, before = threading.Event(), set(cells), {cell: _status(cell).get("ended") for cell in cells}
    sizes = Counter(cell.parent.name for cell in cells)

    def scan(bar: tqdm) -> None:
        for cell in sorted(left):
            status = _status(cell)
            if status.get("ended") in (None, before[cell]):
                continue
            left.discard(cell)
            bar.update()
            if status["state"] == "failed":
                log(f"{cell.name} failed: {status['reason']} (see {cell / 'run.log'})")
            experiment = cell.parent.name
            if len(sizes) > 1 and experiment not in {other.parent.name for other in left}:
                log(f"{experiment}: {sizes[experiment]} cell(s) ended")

    def watch(bar: tqdm) -> None:
        while not stopped.wait(0.5):
            scan(bar)
        scan(bar)

    name = next(iter(sizes)) if len(sizes) == 1 else None
    with tqdm(total=len(cells), desc=name, unit="cell", position=0, leave=False, disable=None) as bar:
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stopped.set()
            watcher.join()


def _status(cell: Path) -> dict[str, Any]:
    """Return the cell's status; empty if it is damaged."""
    try:
        return store.status(cell)
    except ConfigError:
        return {}
