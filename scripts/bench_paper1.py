"""(c) Paper 1: a step in reduced and in all coordinates, how it grows, attack and certificate: ``make bench``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import timing
import torch

from src.data import clusters
from src.measurements import robustness
from src.models import two_layer_relu
from src.optimizers import margin_flow
from src.training.objectives import exponential
from src.types import Batch, Snapshot

WIDTH, STEPS, POINTS = 64, 10, 20


def main(outputs: Path) -> None:
    """Write the rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = timing.machine()

    step = {d: training(d=d) for d in (1024, 4096, 65536)} | {"full": training(d=65536, coordinates="full")}
    ms = {name: 1e3 / STEPS * seconds for name, seconds in timing.best(step, turns=3, slow={"full": 3}).items()}
    where = f"k=8, n=128, m={WIDTH}"
    rows += [timing.row("c", f"step in reduced coordinates, d={d}, {where}", ms[d], "ms") for d in (1024, 4096, 65536)]
    rows.append(timing.row("c", f"step in all coordinates, d=65536, {where}", ms["full"], "ms"))
    rows.append(timing.row("c", "all over reduced coordinates, d=65536", ms["full"] / ms[65536], "×", key="reduced"))
    rows.append(timing.row("c", "reduced coordinates, d=65536 over d=1024", ms[65536] / ms[1024], "×", key="d"))

    sizes = [("n=64", {"n": 64}), ("n=128", {}), ("n=256", {"n": 256}), ("k=4", {"k": 4}), ("k=16", {"k": 16})]
    found = timing.best({name: training(**size) for name, size in sizes}, turns=4)
    rows += [timing.row("c", f"step, {name}", 1e3 / STEPS * seconds, "ms") for name, seconds in found.items()]

    task = clusters.build([0], k=8, d=4096, n=128)
    model = two_layer_relu.build(task, width=WIDTH)
    params = trained(task, model, steps=300)
    measure = robustness.build(task, model, points=POINTS)
    began = time.process_time()
    measure(Snapshot(0, params, torch.zeros(1)))
    each = 1e3 * (time.process_time() - began) / POINTS
    rows.append(timing.row("c", f"attack, certificate and radius along z of a point, {where}", each, "ms"))
    timing.write("paper1", rows, outputs)


def training(**sizes: int | str) -> Callable[[], None]:
    """Steps of the trainer from its start."""
    task = clusters.build([0], **{"k": 8, "d": 4096, "n": 128, "n_test": 10, **sizes})
    model = two_layer_relu.build(task, width=WIDTH)
    return lambda: trained(task, model, STEPS)


def trained(task: clusters.Task, model: two_layer_relu.Model, steps: int) -> dict[str, torch.Tensor]:
    """Parameters after so many steps."""
    rule, risk, batch = margin_flow.build(task, model), exponential(task, model), Batch(task.x, task.y)
    params = model.init([0])
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, state, *risk(params, batch))
    return params


if __name__ == "__main__":
    timing.run("paper1", "Time paper 1: steps, how they grow, attack and certificate.", main)
