"""Reproduce a paper: the cells of its experiments, one per core at a time, then verdicts, figures and a page.

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
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import conclude, grid, records  # noqa: E402
from src import config as configuration  # noqa: E402
from src import run as entry  # noqa: E402
from src.allowed import CellError, ConfigError  # noqa: E402

REPORT_ONLY = "--only-report"
OVERHEAD = 1e6
"""Of a step, in products: calls into torch are all that a step of a small linear model costs."""


class Job(NamedTuple):
    """One cell: the overrides that compose it, and its config."""

    overrides: list[str]
    config: dict[str, Any]

    @property
    def cell(self) -> Path:
        """Its folder."""
        return configuration.folder(self.config)

    @property
    def cost(self) -> float:
        """Relative work: steps · (what a step costs at least + seeds · examples · inputs · neurons)."""
        data, model = self.config["data"], self.config["model"]
        inputs = data.get("n", 1) + data.get("k", 1)
        products = len(self.config["seeds"]) * data.get("n", 1) * inputs * model.get("width", 1)
        return self.config["steps"] * (OVERHEAD + products)


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
    planned = {name: planned_jobs(name, overrides) for name in grid.experiments(paper)}
    if not only_report:
        every = [job for jobs in planned.values() for job in jobs]
        unfinished = [job for job in every if job.config["force"] or not records.finished(job.cell)]
        run(sorted(unfinished, key=lambda job: -job.cost))
    there = {name: [job.config for job in jobs] for name, jobs in planned.items() if not left_out(jobs)}
    return conclude.paper(paper, there, overrides, entry.say)


def planned_jobs(experiment: str, overrides: Sequence[str]) -> list[Job]:
    """The cells of an experiment."""
    return [Job(*job) for job in grid.jobs([f"+experiment={experiment}", *overrides])]


def left_out(jobs: Sequence[Job]) -> bool:
    """Whether it is optional and has no finished cell: its data cannot be had here, and claims on it are not run."""
    return jobs[0].config["optional"] and not records.count_finished(job.cell for job in jobs)


def run(jobs: Sequence[Job]) -> None:
    """Run the cells, the costliest first, one per core at a time, with a bar over them and a line per experiment."""
    if not jobs:
        return
    workers = min(os.cpu_count() or 1, len(jobs))
    open_cells, told = Counter(job.config["name"] for job in jobs), set()
    with (
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare, (os.getpid(),)) as pool,
        tqdm(total=len(jobs), unit="cell", disable=None) as bar,
    ):
        waiting = {pool.submit(_run_cell, *job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                job = waiting[future]
                name = job.config["name"]
                open_cells[name] -= 1
                bar.update()
                if (trouble := _trouble(future)) and (name, trouble) not in told:
                    told.add((name, trouble))  # what keeps every cell from running is told once
                    entry.say(f"{name}: {trouble}")
                if not open_cells[name]:
                    entry.say(f"{name}: {sum(other.config['name'] == name for other in jobs)} cell(s) ended")
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _prepare(parent: int) -> None:
    """A worker uses one thread, dies of an interrupt at once, and does not outlive its parent: cells can take it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    entry.plain_warnings()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_cell(overrides: list[str], config: dict[str, Any]) -> None:
    from src import cell

    cell.run(config, entry.command(overrides), entry.claims_on(config), say=lambda line: None)


def _trouble(ended: Future) -> str | None:
    """What kept a cell from its end, in one line."""
    try:
        ended.result()
    except BrokenProcessPool:
        return "a worker was killed (out of memory?); the same command goes on where it stopped"
    except (ConfigError, CellError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
