"""(b) A training step as it is over the same step through ``torch.compile``: ``make bench``.

On the GPU if there is one, where a compiled step is a CUDA graph (``reduce-overhead``). The suite compiles nothing: a
compiler beside Python and seconds in every worker would be worth it where it gave 1.5 times or more. Without a compiler
there are no rows.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import timing
import torch

from src.config import sweep
from src.runner import build
from src.training import batches

CELLS = {
    "two-layer ReLU, reduced coordinates": ["+experiment=cluster_width", "model.width=64"],
    "t-NN": ["+experiment=tnn_generalization_gap", "data.n=750", "model.rank=14"],
    "linear model": ["+experiment=linear_margin", "variant/linear_margin=synthetic", "optimizer=adam"],
    "squared ReLU, Adam": ["+experiment=muon_margin", "optimizer=adam"],
    "squared ReLU, Muon": ["+experiment=muon_margin", "optimizer=muon"],
}


def main(outputs: Path) -> None:
    """Write a row for every kind of cell of the default profile."""
    torch.set_num_threads(1)
    torch._logging.set_logs(dynamo=logging.ERROR)
    rows = timing.machine()
    for name, words in CELLS.items() if shutil.which("c++") or shutil.which("g++") else ():
        rows += compiled(name, words)
    timing.write("compile", rows, outputs)


def compiled(name: str, words: list[str]) -> list[timing.Row]:
    """The time of a step of a cell, what compiling it gives, and the seconds until it is compiled."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (config,) = sweep.expand([*words, f"device={device}"])
    torch.compiler.reset()
    plain, through = steps(config), steps(config, mode="reduce-overhead" if device == "cuda" else "default")
    began = time.monotonic()
    through()
    waited = time.monotonic() - began
    seconds = timing.best({"plain": plain, "compiled": through}, turns=100)
    what = f"{name}, {device}"
    return [
        timing.row("b", f"step of a cell, {what}", 1e3 * seconds["plain"], "ms"),
        timing.row("b", f"plain over compiled step, {what}", seconds["plain"] / seconds["compiled"], "×"),
        timing.row("b", f"until it is compiled, {what}", waited, "s (wall)"),
    ]


def steps(config: dict, mode: str | None = None) -> Callable[[], None]:
    """Takes the next step of the cell."""
    parts = build.assemble(config | {"measurements": {}})
    begin = build.start(config, parts)
    now = {"params": begin.params, "state": begin.rule_state, "step": 0}
    batches_of = batches.build(parts.task, config["seeds"], config["batch_size"])

    def update(params, state, batch):
        return parts.rule.update(params, state, *parts.objective(params, batch))

    of = update if mode is None else torch.compile(update, mode=mode)

    def step() -> None:
        now["params"], now["state"] = of(now["params"], now["state"], batches_of(now["step"]))
        now["step"] += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    timing.run("compile", "Time a training step as it is, and the same step through torch.compile.", main)
