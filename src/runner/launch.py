"""Hand cells to one of Hydra's launchers: the longest first, and none stops the others.

``launcher=basic|joblib|ray|submitit|submitit_local`` chooses (``conf/launcher``). A job is what it is anywhere: it goes
to the folder the command was given in, composes its config and runs its cell with one thread. Cells tell how they
ended in their files, so progress and failures are read from there, whoever ran them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import shutil
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from tqdm import tqdm

from src.claims import schema as claim_schema
from src.config import schema, sweep
from src.errors import CellError, ConfigError
from src.results import store
from src.runner import teams

Job = tuple[list[str], dict[str, Any]]
"""Of a cell, the overrides that compose it, and its checked config."""


FEW = 16
"""Cells of profile smoke that are over before workers have started."""


tqdm.set_lock(threading.RLock())
"""Its own is also a semaphore between processes, which a worker ended by Ctrl-C would leak."""


def say(line: str) -> None:
    """One line to the person at the terminal, above any bar; none if nobody reads any more: cells go on."""
    with contextlib.suppress(BrokenPipeError):
        tqdm.write(line, file=sys.stderr)


def plain_warnings() -> None:
    """Warnings as one line that names no file."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


def command(overrides: Sequence[str]) -> str:
    """What a person types to get the cell these overrides compose, here and not on a cluster."""
    return shlex.join(["python", "-m", "src.run", *(word for word in overrides if not word.startswith(sweep.CHOOSING))])


def claims_on(config: dict[str, Any]) -> list[str]:
    """The ids of the claims that rest on the cell's experiment."""
    if config["paper"] is None:
        return []
    return [claim.id for claim in claim_schema.load(config["paper"]) if config["name"] in claim.experiments]


def run_cell(cfg: DictConfig, mates: Mapping[str, Sequence[Job]] | None = None) -> None:
    """Run the cell of a composed config; Hydra calls this, in this process or in another one.

    ``mates`` are the other cells of its team, by the command of the first.
    """
    from src.runner import cell  # torch takes two seconds to import: only a cell that runs pays them

    hydra = HydraConfig.get()
    os.chdir(hydra.runtime.cwd)  # a relative `outputs` is meant from where the command was given
    if multiprocessing.current_process().name.startswith("LokyProcess"):  # joblib's
        be_a_worker(os.getppid())
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        die_of_ctrl_c()
    config, typed = schema.plain(cfg), command(hydra.overrides.task)
    team = [(config, typed)]
    for words, other in (mates or {}).get(typed, ()):
        team.append((other | {"device": config["device"]}, command(words)))
    cell.run_together([cell.Order(own, words, claims_on(own)) for own, words in team], say)


def die_of_ctrl_c() -> None:
    """End this process at Ctrl-C, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def be_a_worker(parent: int) -> None:
    """A worker uses one thread, dies of an interrupt at once, and does not outlive its parent: cells can take it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    die_of_ctrl_c()
    plain_warnings()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if all(thread.name != "parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="parent", daemon=True).start()


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Those that have to be run: all with ``force``."""
    return [job for job in jobs if job[1]["force"] or not store.finished(schema.folder(job[1]))]


def run(jobs: Sequence[Job], overrides: Sequence[str]) -> list[ConfigError]:
    """Run the cells of ``jobs``, of one experiment or several; ``overrides`` choose the launcher, and what it is told.

    A failed cell is told when it fails. What breaks the launcher itself (a killed worker, a lost node) is told, too,
    and leaves cells that the same command completes. Returns what a person got wrong in the others, told once each.

    Raises:
        ConfigError: for a launcher that cannot work here.
    """
    words = [*sweep.first_of_sweeps(overrides), *_fallback(jobs, overrides)]
    alike = teams.grouped((teams.alike(job[1]), job) for job in jobs)
    crews = [crew for team in alike for crew in teams.cut(team, team[0][1])]
    crews.sort(key=lambda crew: -sum(sweep.cost(config) for _, config in crew))
    mates = {command(words): rest for (words, _), *rest in crews if rest}
    cells = [schema.folder(config) for _, config in jobs]
    GlobalHydra.instance().clear()
    with (
        initialize_config_dir(str(schema.CONF), version_base="1.3", job_name="cell"),
        _watched(cells),
        _noting_interrupts() as interrupted,
    ):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", words, run_mode=RunMode.MULTIRUN)
        name = master.hydra.runtime.choices["hydra/launcher"]
        if name == "submitit_slurm" and not shutil.which("sbatch"):
            elsewhere = "launcher=submitit_local tries it on this machine"
            raise ConfigError("launcher", "submitit", f"there is no sbatch, so no Slurm, here; {elsewhere}")
        HydraConfig.instance().set_config(master)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        launcher = Plugins.instance().instantiate_launcher(context, partial(run_cell, mates=mates), master)
        try:
            with _ctrl_c_blocked(name):
                ended = launcher.launch([words for (words, _), *_ in crews], initial_job_idx=0)
        except OSError:
            raise  # the folder of results cannot be written
        except Exception as error:
            if interrupted.is_set():
                raise KeyboardInterrupt from error  # a launcher may put its own error in the place of it
            reason = (str(error).strip().splitlines() or [""])[0]
            say(f"launcher={name} broke off; the same command goes on there ({type(error).__name__}: {reason})")
            return []
    if interrupted.is_set():
        raise KeyboardInterrupt
    failures = [job._return_value for job in ended if job.status is JobStatus.FAILED]
    for error in failures:
        if not isinstance(error, ConfigError | CellError):
            raise error
    mistakes = [error for error in failures if isinstance(error, ConfigError)]
    for line in dict.fromkeys(map(str, mistakes)):
        say(line)
    return mistakes


@contextlib.contextmanager
def _ctrl_c_blocked(launcher: str) -> Iterator[None]:
    """Block Ctrl-C in this thread and in the processes it starts: imports that it ends would print a traceback.

    A worker lets it through as soon as it dies of it in silence; another thread of this process takes ours.
    """
    if launcher not in ("joblib", "submitit_local"):
        yield
        return
    if launcher == "joblib":
        from multiprocessing import resource_tracker

        from joblib.externals.loky.backend import resource_tracker as of_joblib

        for tracker in (resource_tracker, of_joblib):
            tracker.ensure_running()  # a later start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C: whatever a launcher makes of the interrupt, we know of it."""
    interrupted = threading.Event()

    def interrupt(*_: Any) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _fallback(jobs: Sequence[Job], overrides: Sequence[str]) -> list[str]:
    """Unless a launcher was chosen, a single cell or a few small ones need no workers, and one process fills a GPU."""
    if any(word.startswith(sweep.CHOOSING) for word in overrides):
        return []
    configs = [config for _, config in jobs]
    few = len(configs) == 1 or (configs[0]["profile"] == "smoke" and len(configs) < FEW)
    return ["launcher=basic"] if few or any(config["device"] == "cuda" for config in configs) else []


@contextlib.contextmanager
def _watched(cells: Sequence[Path]) -> Iterator[None]:
    """A live bar over cells (on a terminal) and a line for each that fails, both read from their status files."""
    over, left, before = threading.Event(), set(cells), {cell: _status(cell).get("ended") for cell in cells}
    sizes = Counter(cell.parent.name for cell in cells)

    def look(bar: tqdm) -> None:
        for cell in sorted(left):
            status = _status(cell)
            if status.get("ended") in (None, before[cell]):
                continue
            left.discard(cell)
            bar.update()
            if status["state"] == "failed":
                say(f"{cell.name} failed: {status['reason']} (see {cell / 'run.log'})")
            experiment = cell.parent.name
            if len(sizes) > 1 and experiment not in {other.parent.name for other in left}:
                say(f"{experiment}: {sizes[experiment]} cell(s) ended")

    def watch(bar: tqdm) -> None:
        while not over.wait(0.5):
            look(bar)
        look(bar)

    name = next(iter(sizes)) if len(sizes) == 1 else None
    with tqdm(total=len(cells), desc=name, unit="cell", position=0, leave=False, disable=None) as bar:
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def _status(cell: Path) -> dict[str, Any]:
    """The cell's status; nothing of a damaged one."""
    try:
        return store.status(cell)
    except ConfigError:
        return {}
