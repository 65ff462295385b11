"""Measure ratios of times, and write them to ``outputs/benchmarks/``.

    python -m benchmarks [PART …] [--smoke] [outputs=outputs]

Every part writes ``PART.json``: the date, commit and machine, and its ratios. ``ratios.md`` and ``ratios.png`` show all
parts in the folder. No test depends on a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch

from benchmarks import clusters, optimizers, paper3, summary, tensors, workers
from src import cli
from src.errors import ConfigError, nearest
from src.report.figures import style
from src.results import provenance, store

PARTS = {"optimizers": optimizers, "clusters": clusters, "tensors": tensors, "paper3": paper3, "workers": workers}
COMMAND = cli.Command(
    "python -m benchmarks",
    "Measure ratios of times on this machine: batching, reduced coordinates, the tensor network, paper 3, workers.",
    keys={"outputs": cli.OUTPUTS},
    flags={"--smoke": "the smallest size, in seconds; the ratios mean nothing"},
    words=("[PART …]", f"{', '.join(PARTS)}; all unless given"),
    examples=["python -m benchmarks", "python -m benchmarks clusters tensors", "python -m benchmarks --smoke"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: benchmark(arguments))


def benchmark(arguments: Sequence[str]) -> int:
    """Measure the parts that are named, and show all that have been measured."""
    given = COMMAND.read(arguments)
    if unknown := [part for part in given.words if part not in PARTS]:
        raise ConfigError("part", unknown[0], f"must be one of {', '.join(PARTS)}{nearest(unknown[0], PARTS)}")
    folder = given.outputs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for part in given.words or PARTS:
        rows = [ratio._asdict() for ratio in PARTS[part].measure(given.smoke)]
        facts = provenance.collect(" ".join(["python -m benchmarks", *arguments]), [], "", "cpu", 1, {})
        about = {key: facts[key] for key in ("date", "command", "git", "cpu", "cores", "threads", "python", "torch")}
        about |= {"part": part, "smoke": given.smoke, "load": round(os.getloadavg()[0], 1)}
        store.write_json(folder / f"{part}.json", about | {"rows": rows})
    paths = [folder / f"{part}.json" for part in PARTS]
    records = [store.read_json(path) for path in paths if path.exists()]
    text = summary.table(records)
    (folder / "ratios.md").write_text(text, encoding="utf-8")
    with style.rc_context():
        summary.figure(records).savefig(folder / "ratios.png", dpi=150)
    print(text + f"\n{folder / 'ratios.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
