"""Time a sweep of four cells with one worker and with a worker on every core. These are wall times of commands."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.timing import Ratio

SWEEP = ["+experiment=muon_margin", "profile=smoke", "data.n=256", "model.width=64", "optimizer=adam,nmd,ngd,signum"]
FIXED = ["launcher=joblib", "tracking.mode=disabled", "report=false", "~measurements.kkt_multipliers"]


def measure(smoke: bool) -> list[Ratio]:
    """Return the ratio of one worker to all."""
    steps, workers = 10 if smoke else 4000, os.cpu_count() or 1
    every, one = (sweep(count, steps) for count in (workers, 1))
    return [Ratio(f"1 worker over {workers}", "sweep of 4 cells", one / every, every)]


def sweep(workers: int, steps: int) -> float:
    """Return the seconds of the sweep."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*SWEEP, *FIXED, f"steps={steps}", f"hydra.launcher.n_jobs={workers}", f"outputs={folder}"]
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "src.run", *words], check=True, capture_output=True)
        return time.monotonic() - began
