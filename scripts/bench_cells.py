"""(d)–(f) What surrounds training, start-up, and how a cell and a sweep grow: ``make bench``.

(d) takes cells of the default profile. Processor time, but for sweeps with several workers, whose point is wall time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timing
import torch

from src.config import sweep
from src.results import store, wandb_run
from src.runner import cell
from src.training import checkpoint

CELLS = {
    "clusters": ["+experiment=cluster_width", "model.width=64"],
    "margins": ["+experiment=muon_margin", "optimizer=adam"],
    "tensors": ["+experiment=tnn_generalization_gap", "data.n=750", "model.rank=14"],
}
MEASURING = {False: "measuring on the way", True: "measuring at the end"}
SMALL = ["+experiment=muon_margin", "profile=smoke", "tracking.mode=disabled", "report=false"]
ALONE = """
import time, torch
torch.set_num_threads(1)
a = torch.rand(5, 64, 196)
began = time.monotonic()
for _ in range(20000):
    a @ a.mT
print(time.monotonic() - began)
"""


def main(outputs: Path) -> None:
    """Write the rows."""
    rows = timing.machine()
    with tempfile.TemporaryDirectory() as folder:
        _run([*SMALL, "optimizer=adam", "tracking.mode=offline"], f"{folder}/first")  # W&B is imported once
        for name, words in CELLS.items():
            rows += shares(name, words, f"{folder}/{name}")
        rows += growth(folder)
        rows += commands(folder)
    timing.write("cells", rows, outputs)


def shares(name: str, words: list[str], outputs: str) -> list[timing.Row]:
    """(d) Of one cell, as shares: measuring on the way and at the end, writing files, and the mirror (its thread)."""
    spent: dict[str, float] = dict.fromkeys((*MEASURING.values(), "recording", "the W&B mirror"), 0.0)
    with (
        _timed(cell, "measure", lambda final: MEASURING[final], spent),
        _timed(store, "append", lambda **_: "recording", spent),
        _timed(checkpoint, "save", lambda **_: "recording", spent),
        _timed(wandb_run, "_drain", lambda **_: "the W&B mirror", spent),
    ):
        whole = _run([*words, "tracking.mode=offline"], outputs)
    told = [timing.row("d", f"{what}, cell of {name}", 100 * s / whole, "%") for what, s in spent.items()]
    around = 100 * (sum(spent.values()) - spent[MEASURING[True]]) / whole
    return [
        timing.row("d", f"a cell of {name}", whole, "s"),
        *told,
        timing.row("d", f"all but the measuring at the end, cell of {name}", around, "%"),
    ]


@contextmanager
def _timed(module: Any, name: str, what: Callable[..., str], spent: dict[str, float]) -> Iterator[None]:
    """Add the seconds spent in a function to ``spent``, under what its keyword arguments make it."""
    original = getattr(module, name)

    def timed(*args: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return original(*args, **options)
        finally:
            spent[what(**options)] += time.thread_time() - began

    setattr(module, name, timed)
    try:
        yield
    finally:
        setattr(module, name, original)


def _run(words: list[str], outputs: str) -> float:
    """Processor seconds of the one cell of these overrides."""
    (config,) = sweep.expand([*words, f"outputs={outputs}"])
    began = time.process_time()
    cell.run(config, "", say=lambda line: None)
    return time.process_time() - began


def growth(folder: str) -> list[timing.Row]:
    """(f) Processor time of a small cell against members, width and n, over that of the smallest."""
    rows = []
    for key, values in {
        "members": [1, 4, 16],
        "model.width": [16, 64, 256],
        "data.n": [64, 256, 1024],
    }.items():
        seconds = []
        for value in values:
            own = f"seeds={list(range(value))}" if key == "members" else f"{key}={value}"
            seconds.append(_run([*SMALL, "optimizer=adam", own.replace(" ", "")], f"{folder}/{key}{value}"))
        rows += [
            timing.row("f", f"cell of {SMALL[0][12:]}, smoke: {key} = {value}", spent, "s")
            for value, spent in zip(values, seconds, strict=True)
        ]
    return rows


def commands(folder: str) -> list[timing.Row]:
    """(e) Whole commands, (f) one worker against all; wall seconds."""
    rows = [
        timing.row("e", "python -m src.run --cfg job", _wall("--cfg", "job", "+experiment=muon_margin"), "s (wall)"),
        timing.row("e", "sweep of 7 cells, smoke, one process", _sweep(f"{folder}/one", "launcher=basic"), "s (wall)"),
        timing.row("e", "the same sweep, finished: skipped", _sweep(f"{folder}/one"), "s (wall)"),
        timing.row("e", "the same with its report", _wall(*SMALL[:-1], f"outputs={folder}/one"), "s (wall)"),
        timing.row("e", "the same again: report up to date", _wall(*SMALL[:-1], f"outputs={folder}/one"), "s (wall)"),
    ]
    longer = ["steps=10000", "data.n=256", "model.width=64", "optimizer=adam,nmd,ngd,signum"]
    for workers in (1, os.cpu_count() or 1):
        name = f"sweep of 4 longer cells, launcher=joblib, {workers} worker(s)"
        words = [*longer, "launcher=joblib", f"hydra.launcher.n_jobs={workers}"]
        rows.append(timing.row("f", name, _sweep(f"{folder}/{workers}", *words), "s (wall)"))
    rows.append(timing.row("f", "speed-up of all workers", rows[-2]["value"] / rows[-1]["value"], "×", key="workers"))
    rows.append(timing.row("f", "speed-up of matrix products alone, in as many processes", _of_the_machine(), "×"))
    return rows


def _of_the_machine() -> float:
    """What all cores do over what one does: two threads of one core, say, are not two cores."""
    cores = os.cpu_count() or 1

    def slowest(processes: int) -> float:
        running = [
            subprocess.Popen([sys.executable, "-c", ALONE], stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        return max(float(process.communicate()[0]) for process in running)

    return cores * slowest(1) / slowest(cores)


def _sweep(outputs: str, *words: str) -> float:
    return _wall(*SMALL, f"outputs={outputs}", *words)


def _wall(*words: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "src.run", *words], cwd=timing.ROOT, check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    torch.set_num_threads(1)
    timing.run("cells", "Time what surrounds training, start-up, and how a cell and a sweep grow.", main)
