"""Time whole cells: what measuring adds to training, and what workers save. These are wall times of commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Ratio

CELLS = {
    "cluster_width": ["model.width=64"],
    "muon_margin": ["optimizer=adam"],
    "tnn_generalization_gap": ["data.n=750", "model.rank=14"],
}
SWEEP = ["+experiment=muon_margin", "profile=smoke", "data.n=256", "model.width=64", "optimizer=adam,nmd,ngd,signum"]


def measure(smoke: bool) -> list[Ratio]:
    """Return the ratio of a cell to its training steps, and of one worker to all workers."""
    with tempfile.TemporaryDirectory() as folder:
        cells = list(CELLS)[: 1 if smoke else None]
        found = [whole_cell(name, CELLS[name], smoke, folder) for name in cells]
        workers = os.cpu_count() or 1
        base, one = (sweep(n, smoke, f"{folder}/{place}") for place, n in enumerate((workers, 1)))
    return [*found, Ratio(f"1 worker over {workers}, 4 cells", "sweep", one / base, base)]


def whole_cell(name: str, words: list[str], smoke: bool, folder: str) -> Ratio:
    """Return the time of a cell over that of its training steps, from the cell's ``status.json``."""
    profile = "smoke" if smoke else "default"
    command(f"+experiment={name}", f"profile={profile}", "launcher=basic", *words, f"outputs={folder}")
    (file,) = Path(folder, name).glob("*/status.json")
    status = json.loads(file.read_text(encoding="utf-8"))
    training = status["seconds"] - status["on_the_way"] - status["at_the_end"]
    return Ratio(f"cell over its training steps, {profile}", name, status["seconds"] / training, training)


def sweep(workers: int, smoke: bool, outputs: str) -> float:
    """Return the seconds of a sweep of four cells."""
    began = time.monotonic()
    steps = 100 if smoke else 4_000
    command(*SWEEP, f"steps={steps}", "launcher=joblib", f"hydra.launcher.n_jobs={workers}", f"outputs={outputs}")
    return time.monotonic() - began


def command(*words: str) -> None:
    """Run the command line of an experiment without a report."""
    fixed = ["tracking.mode=disabled", "report=false"]
    subprocess.run([sys.executable, "-m", "src.run", *words, *fixed], check=True, capture_output=True)
