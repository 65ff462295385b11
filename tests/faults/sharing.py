"""Two processes on one sweep at once: each cell is computed once, by one of them, and both commands end well."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults import runs
from tests.faults.runs import Reference

COUNTED = "shared sweeps"
LEAST = 6
PAIRS = [("warm", "warm"), ("joblib", "cold")]


def cases() -> list[tuple[str, tuple[str, str], bool]]:
    """The experiment, the ways its two processes are started, and whether the first one is killed."""
    return [(name, pair, killed) for name in runs.EXPERIMENTS for pair in PAIRS for killed in (False, True)]


def disturb(
    rng: random.Random, folder: Path, reference: Reference, pair: tuple[str, str], killed: bool
) -> tuple[int, list[str]]:
    """One shared sweep, and what is wrong with it."""
    line = runs.words(reference.experiment, checkpoint_every=0)
    first = runs.start(folder, line, pair[0])
    first.wait(rng.uniform(0, reference.seconds[pair[0]]))
    second = runs.start(folder, line, pair[1])
    if killed and first.wait(rng.uniform(0, reference.seconds[pair[0]])) is None:
        os.killpg(first.pid, signal.SIGKILL)
    wrong = list(runs.finish(second))
    wrong += [] if killed else runs.finish(first)
    first.wait(600)
    return 1, [*wrong, *runs.differences(folder / "outputs", reference), *_computed_twice(folder, killed)]


def _computed_twice(folder: Path, killed: bool) -> Iterator[str]:
    """The cells whose log holds another start than the first, or after a kill one that goes on."""
    for log in folder.glob("outputs/*/*/run.log"):
        events = re.findall(r"^\S+ (started|resumed|done)", log.read_text(), re.MULTILINE)
        expected = r"started( started)?( resumed)? done" if killed else r"started done"
        if not re.fullmatch(expected, " ".join(events)):
            yield f"{log.parent.name} was computed as {events}"
