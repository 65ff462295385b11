"""kill -9 at random moments until the command is done: of the whole run, of the first process alone, of a worker."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import runs
from tests.faults.runs import Reference, Run

COUNTED = "kills"
LEAST = 100
TIMES = {"warm": 10, "cold": 2, "joblib": 2}
"""How often an experiment is killed until it is done, by the way it is started."""
MOST = 40
"""Kills after which a command that is still not done makes no progress."""


def cases() -> list[tuple[str, str]]:
    """The experiment, and the way it is started."""
    return [(name, way) for way, times in TIMES.items() for name in runs.EXPERIMENTS for _ in range(times)]


def disturb(rng: random.Random, folder: Path, reference: Reference, way: str) -> tuple[int, list[str]]:
    """How many kills there were, and what is wrong after them."""
    line, started = runs.words(reference.experiment, checkpoint_every=0), []
    while len(started) <= MOST:
        run = runs.start(folder, line, way)
        started.append(run)
        # Early at first, as a machine that has become idle would be done before; then ever later on average, as on one
        # that has become busy all moments could lie before the first step.
        if run.wait(rng.uniform(0, reference.seconds[way] * (0.1 + len(started) / 5))) is not None:
            break
        kill(run, rng)
    else:
        return len(started), [f"not done after {len(started)} kills"]
    wrong = [*runs.finish(run), *(f"traceback: {said}" for said in map(_said, started) if "Traceback" in said)]
    wrong += [f"process group {run.pid} does not end" for run in started if not _ends(run.pid)]
    return len(started) - 1, wrong + list(runs.differences(folder / "outputs", reference))


def kill(run: Run, rng: random.Random) -> None:
    """Kill the whole group, as a loss of power does, or one process of it, as the kernel does when memory is short."""
    workers = _workers(run.pid)
    victim = rng.choice(["all", "first", "worker"])
    if victim == "worker" and workers:
        os.kill(rng.choice(workers), signal.SIGKILL)
        assert run.wait(300) is not None, "the command waits for ever for a worker that was killed"
        return
    if victim == "first":
        os.kill(run.pid, signal.SIGKILL)  # the workers have to end by themselves
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait(300)


def _workers(group: int) -> list[int]:
    """The processes that joblib started."""
    return [pid for pid, line in _group(group) if "popen_loky" in line]


def _group(group: int) -> Iterator[tuple[int, str]]:
    """Ids and command lines of the processes of a group."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                yield int(folder.name), (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue


def _ends(group: int, seconds: float = 60) -> bool:
    """Whether no process of the group is left."""
    deadline = time.monotonic() + seconds
    while left := list(_group(group)):
        if time.monotonic() > deadline:
            for pid, _ in left:
                os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.1)
    return True


def _said(run: Run) -> str:
    return run.said.read_text()
