"""The small experiments that the faults disturb, started as a person starts them, and what their files must hold."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from src import run as entry
from src.runner.launch import plain_warnings

ROOT = Path(__file__).resolve().parents[2]

EXPERIMENTS = {
    "cluster_width": {
        "model.width": "4,5", "steps": 100, "data.k": 2, "data.d": 256, "data.n": 16, "data.n_test": 50,
        "stop.slackness": "null", "stop.flatness": "null",
    },
    "tnn_implicit_rank": {
        "variant/tnn_implicit_rank": "adversarial,standard", "steps": 60, "data.n": 100, "model.width": 4,
        "measurements.adversarial.train_points": 20,
    },
    "muon_margin": {"optimizer": "muon,adam", "steps": 100, "model.width": 4, "data.n": 32},
}  # fmt: skip
"""One of every paper, each of two cells, with the keys that make it small."""

RECORDS = ("metrics.jsonl", "summary.json", "checkpoint.pt")
"""The files of a cell that hold no clock."""

NO_NUMBERS = {"tracking": None, "checkpoint_every": None}
"""Keys of a config in which the runs differ."""

WAYS = {"warm": ["launcher=basic"], "cold": ["launcher=basic"], "joblib": ["launcher=joblib"]}
"""How a command is started: in a fork that has torch, so that it begins at once, or in a Python of its own."""


class Run(NamedTuple):
    """A command that was started. ``wait(seconds)`` is its exit code, None while it runs."""

    pid: int
    wait: Callable[[float], int | None]
    said: Path


class Reference(NamedTuple):
    """What an undisturbed run of an experiment leaves, and what it takes.

    ``seconds`` is by the way it is started, and ``"report"`` of one with its report; ``size`` is the bytes on a disk
    without a report, ``"false"``, and with it, ``"true"``.
    """

    experiment: str
    files: dict[str, bytes]
    report: dict[str, bytes]
    seconds: dict[str, float]
    size: dict[str, int]


def words(experiment: str, **others: object) -> list[str]:
    """The command line of an experiment, with other values for some keys; ``__`` stands for a dot."""
    keys = {"profile": "smoke", "outputs": "outputs", "tracking.mode": "disabled", "report": "false"}
    keys |= EXPERIMENTS[experiment] | {key.replace("__", "."): value for key, value in others.items()}
    return [f"+experiment={experiment}", *(f"{key}={value}" for key, value in keys.items())]


def start(
    folder: Path,
    line: list[str],
    way: str,
    environment: Mapping[str, str] | None = None,
    module: Sequence[str] = ("src.run",),
) -> Run:
    """Start a command in a folder, as the leader of a group of processes."""
    said = folder / f"said-{time.monotonic_ns()}.txt"
    line = [*line, *WAYS[way]]
    if way == "warm":
        process = multiprocessing.get_context("fork").Process(target=_become, args=(folder, line, said, environment))
        process.start()

        def wait(seconds: float) -> int | None:
            process.join(seconds)
            return process.exitcode
    else:
        command = [sys.executable, "-m", *module, *line]
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
        with said.open("w") as errors:
            silent = {"stdout": subprocess.DEVNULL, "stderr": errors, "start_new_session": True}
            process = subprocess.Popen(command, cwd=folder, env=environment, **silent)

        def wait(seconds: float) -> int | None:
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                return None

    return Run(process.pid, wait, said)


def _become(folder: Path, line: list[str], said: Path, environment: Mapping[str, str] | None) -> None:
    """Be the command: what ``python -m src.run`` does once it has imported what it needs."""
    os.setsid()
    os.environ |= environment or {}
    os.chdir(folder)
    errors = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    plain_warnings()
    sys.argv = ["src.run", *line]
    entry.main()


def finish(run: Run, seconds: float = 600) -> Iterator[str]:
    """What is wrong with how a command ends that nothing should disturb."""
    code = run.wait(seconds)
    if code != 0:
        yield f"exit code {code}: {run.said.read_text()}"


def files(outputs: Path, experiment: str) -> dict[str, bytes]:
    """Of every cell the names of its files, the content of those that hold no clock, and how it ended."""
    found = {}
    for cell in sorted((outputs / experiment).glob("*-*")):
        found |= {f"{cell.name}/{file.name}": b"" for file in cell.iterdir()}
        found |= {f"{cell.name}/{name}": (cell / name).read_bytes() for name in RECORDS if (cell / name).exists()}
        config = yaml.safe_load((cell / "config.yaml").read_text())
        found[f"{cell.name}/config.yaml"] = json.dumps(config | NO_NUMBERS).encode()
        status = json.loads((cell / "status.json").read_text())
        status = {key: status.get(key) for key in ("state", "converged", "diverged", "members", "record")}
        found[f"{cell.name}/status.json"] = json.dumps(status).encode()
    return found


def report(outputs: Path) -> dict[str, bytes]:
    """The numbers of the report: its verdicts, and the rows of its tables and figures."""
    named = [file for pattern in ("*/claims.json", "*/deviations.json", "*/*.csv", "*/*/*.csv")
             for file in (outputs / "reports").glob(pattern)]  # fmt: skip
    return {str(file.relative_to(outputs)): file.read_bytes() for file in named}


def undisturbed(experiment: str, folder: Path) -> Reference:
    """Run an experiment in every way, and once with its report.

    Raises:
        AssertionError: when one of these runs does not end well, or leaves other files than the first.
    """
    reference = Reference(experiment, {}, {}, {}, {})
    for way in (*WAYS, "report"):
        place, drawn = folder / way, "true" if way == "report" else "false"
        place.mkdir(parents=True)
        began = time.monotonic()
        run = start(place, words(experiment, report=drawn, checkpoint_every=0), way if way in WAYS else "warm")
        wrong = list(finish(run))
        reference.seconds[way] = time.monotonic() - began
        outputs = place / "outputs"
        reference.size[drawn] = sum(file.stat().st_blocks for file in outputs.rglob("*")) * 512
        reference.files.update(reference.files or files(outputs, experiment))
        reference.report.update(report(outputs))
        wrong += differences(outputs, reference)
        assert not wrong, f"{experiment}, undisturbed, {way}: {wrong}"
    return reference


def differences(outputs: Path, reference: Reference) -> Iterator[str]:
    """In what the results differ from those of the undisturbed run."""
    found = files(outputs, reference.experiment)
    for name in sorted(found.keys() | reference.files.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in reference.files:
            yield f"{name} is left over"
        elif found[name] != reference.files[name]:
            yield f"{name} differs from that of an undisturbed run"
