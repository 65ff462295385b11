"""A disk that is full after a random number of bytes: one line says where, and with room the same command goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import runs
from tests.faults.runs import Reference

COUNTED = "full disks"
LEAST = 20
TIMES = {"false": 8, "true": 1}
"""How often a disk is full in an experiment without its report, and with it."""
SIZE = 16 * 2**20


def cases() -> list[tuple[str, str]]:
    """The experiment, and whether its report is drawn."""
    return [(name, report) for report, times in TIMES.items() for name in runs.EXPERIMENTS for _ in range(times)]


def disturb(rng: random.Random, folder: Path, reference: Reference, report: str) -> tuple[int, list[str]]:
    """Whether the disk was full, and what is wrong with how the command ended."""
    outputs = folder / "outputs"
    line = runs.words(reference.experiment, report=report, checkpoint_every=0)
    with disk(outputs):
        room = rng.randrange(reference.size[report])
        with room_for(room, outputs):
            run = runs.start(folder, line, "warm")
            code = run.wait(600)
            wrong = list(_told(run.said.read_text(), code, report == "true"))
        wrong += runs.finish(runs.start(folder, line, "warm"))
        wrong += runs.differences(outputs, reference)
        if report == "true":
            found = runs.report(outputs)
            names = sorted(found.keys() | reference.report.keys())
            wrong += [f"{name} differs" for name in names if found.get(name) != reference.report.get(name)]
    return int(code != 0), [f"{room} bytes: {what}" for what in wrong]


def _told(said: str, code: int | None, with_verdicts: bool) -> Iterator[str]:
    """What is wrong with what a command says when the disk is full."""
    if code not in (0, 1, 2):
        yield f"exit code {code}: {said}"
    if "Traceback" in said or (code and not any("outputs" in line and "space" in line for line in said.splitlines())):
        yield f"no line names the folder that is full: {said}"
    if len(said.splitlines()) > 6 and not with_verdicts:
        yield f"too many lines: {said}"


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A disk of its own in the place of a folder; the suite has its own namespace of mounts."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def room_for(count: int, folder: Path) -> Iterator[None]:
    """A disk on which only so many bytes are left."""
    ballast = folder / ".ballast"
    with ballast.open("w") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - count)
    try:
        yield
    finally:
        ballast.unlink()
