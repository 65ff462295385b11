"""Reproduce a paper: its experiments, as many at a time as there are cores, then verdicts, figures and a page.

    python scripts/reproduce.py PAPER [--only-report] [key=value …]

Finished cells are skipped, so the same command goes on after a kill. Exit code 0: every cell is done; 1: some failed;
2: the command cannot be run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import conclude, grid, records  # noqa: E402
from src import config as configuration  # noqa: E402
from src import run as entry  # noqa: E402
from src.allowed import ConfigError  # noqa: E402

REPORT_ONLY = "--only-report"


class Sweep(NamedTuple):
    """One experiment of the paper: its cells and those of them that still have to run."""

    experiment: str
    configs: list[dict[str, Any]]
    unfinished: list[dict[str, Any]]

    @property
    def cost(self) -> float:
        """Relative work left: seeds · steps · examples · inputs · neurons."""
        return sum(map(_work, self.unfinished))


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    words = [word for word in arguments if word != REPORT_ONLY]
    overrides = words[1:]
    return entry.guarded(lambda: reproduce(words, overrides, only_report=REPORT_ONLY in arguments), overrides)


def reproduce(words: Sequence[str], overrides: Sequence[str], only_report: bool) -> int:
    """Run what is unfinished of the paper ``words[0]``, unless only the report is wanted, and conclude it."""
    if not words or not words[0].isdigit():
        raise ConfigError("paper", words[0] if words else "?", "must be the number of a paper")
    if chosen := next((word for word in overrides if word.lstrip("+~").startswith("experiment")), None):
        raise ConfigError("experiment", chosen.split("=", 1)[-1], "runs alone with python -m src.run +experiment=NAME")
    paper = int(words[0])
    sweeps = [planned(name, overrides) for name in grid.experiments(paper)]
    if not only_report:
        run(sorted((s for s in sweeps if s.unfinished), key=lambda s: -s.cost), overrides)
    there = {s.experiment: s.configs for s in sweeps if not left_out(s)}
    return conclude.paper(paper, there, overrides, entry.say)


def left_out(sweep: Sweep) -> bool:
    """Whether it is optional and has no finished cell: its data cannot be had here, and claims on it are not run."""
    cells = map(configuration.folder, sweep.configs)
    return sweep.configs[0]["optional"] and not any(map(records.finished, cells))


def planned(experiment: str, overrides: Sequence[str]) -> Sweep:
    """The experiment's cells, and which of them are not finished."""
    configs = grid.expand([f"+experiment={experiment}", *overrides])
    open_ = [c for c in configs if c["force"] or not records.finished(configuration.folder(c))]
    return Sweep(experiment, configs, open_)


def run(sweeps: Sequence[Sweep], overrides: Sequence[str]) -> None:
    """Run the sweeps, the costliest first, in one worker process per core, with one bar over all cells."""
    if not sweeps:
        return
    cells = [configuration.folder(config) for sweep in sweeps for config in sweep.unfinished]
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(min(os.cpu_count() or 1, len(sweeps)), context, _prepare, (os.getpid(),)) as pool,
        tqdm(total=len(cells), unit="cell", disable=None) as bar,
    ):
        waiting = {pool.submit(_sweep, s.experiment, list(overrides), _log(s)): s for s in sweeps}
        try:
            while waiting:
                ended, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    _tell(waiting.pop(future), future)
                bar.update(records.count_finished(cells) - bar.n)
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _prepare(parent: int) -> None:
    """A worker uses one thread, dies of an interrupt at once, and does not outlive its parent: cells can take it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _tell(sweep: Sweep, ended: Future) -> None:
    """One line on how a sweep ended."""
    try:
        code, seconds = ended.result()
        fate = f"{seconds:.0f} s, " + ("done" if code == 0 else f"FAILED, see {_log(sweep)}")
        if code and left_out(sweep):
            fate = f"left out: {_log(sweep).read_text().splitlines()[-1]}"
    except BrokenProcessPool:
        fate = "a worker was killed (out of memory?); the same command goes on where it stopped"
    entry.say(f"{sweep.experiment}: {len(sweep.unfinished)} cell(s), {fate}")


def _sweep(experiment: str, overrides: list[str], log: Path) -> tuple[int, float]:
    """Run one experiment in this process; what it says goes to its log. Returns the exit code and the seconds."""
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, redirect_stderr(file), redirect_stdout(file):
        code = entry.run([f"+experiment={experiment}", *overrides, "report=false"])
    return code, time.monotonic() - began


def _log(sweep: Sweep) -> Path:
    return Path(sweep.configs[0]["outputs"]) / sweep.experiment / "sweep.log"


def _work(config: Mapping[str, Any]) -> float:
    data, model = config["data"], config["model"]
    inputs = data.get("n", 1) + data.get("k", 1)
    return len(config["seeds"]) * config["steps"] * data.get("n", 1) * inputs * model.get("width", 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
