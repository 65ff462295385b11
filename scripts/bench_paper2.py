"""(a) Time one training step of experiment A.2 (FGSM and an SGD step, batch 80), on one thread in float32.

    REFERENCE=DIR python scripts/bench_paper2.py        # beside the released code, a checkout in DIR

Times are the best processor time of interleaved repetitions in one process, so a busy machine matters little. The rate
counts only the operations that a step cannot do without, and is told as a share of what matrix products reach here.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import timing
import torch

from src.models import tnn
from src.optimizers import sgd
from src.training.objectives import adversarial
from src.types import Batch, Task

BATCH, EPS, LR, D_IN, C = 80, 16 / 255, 1e-4, 28, 28


def main(outputs: Path) -> None:
    """Write the rows of every D."""
    torch.set_num_threads(1)
    task = images()
    rows = timing.machine()
    for width in (28, 128, 256):
        todo = {"dct": ours(task, width, "dct"), "authors": ours(task, width, "authors")}
        todo |= {"gemm": gemm(512), "slices": slices(width)}
        if folder := os.environ.get("REFERENCE"):
            todo["released"] = released(task, width, folder)
        ms = {name: 1e3 * seconds for name, seconds in timing.best(todo, turns=96, slow={"released": 24}).items()}
        rate = flops(width) / ms["dct"] / 1e6
        peak, slice_rate = 2 * 512**3 / ms["gemm"] / 1e6, 2 * C * width**2 * BATCH / ms["slices"] / 1e6
        name = f"step of A.2, D={width}"
        rows += [timing.row("a", name, ms["dct"], "ms"), timing.row("a", f"{name}: rate", rate, "GFLOP/s")]
        rows.append(timing.row("a", f"{name}: share of the rate of matrix products", 100 * rate / peak, "%"))
        rows.append(timing.row("a", f"{name}: share of the rate of its slices' products", 100 * rate / slice_rate, "%"))
        if folder:
            rows.append(timing.row("a", f"{name}: released code over ours", ms["released"] / ms["dct"], "×"))
            ratio = ms["released"] / ms["authors"]
            rows.append(timing.row("a", f"{name}: released code over ours, with its M", ratio, "×"))
    timing.write("paper2", rows, outputs)


def flops(width: int) -> float:
    """Of the attack's forward and backward pass and the step's, which asks for no gradient of the images.

    A pass through the t-layers is F = 2c(Dd + 2D²) an example; five are needed, less 2cDd for the images' gradient.
    Transforms of activations are 2c²(d + 5D) for each of four passes; those of weights are not counted.
    """
    one_pass = 2 * C * (width * D_IN + 2 * width**2)
    transforms = 4 * 2 * C**2 * (D_IN + 5 * width)
    return BATCH * (5 * one_pass - 2 * C * width * D_IN + transforms)


def images() -> Task:
    """Random pixels and labels."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1, BATCH, D_IN, C, generator=draw)
    y = torch.where(torch.rand(1, BATCH, generator=draw) < 0.5, -1.0, 1.0)
    return Task(x, y, x[0], y[0], {})


def ours(task: Task, width: int, transform: str) -> Callable[[], None]:
    """One step of this suite."""
    model = tnn.build(task, width=width, transform=transform)
    objective, rule = adversarial(task, model, eps=EPS), sgd.build(task, model, lr=LR)
    params = model.init([0])
    now = {"params": params, "state": rule.init(params)}

    def step() -> None:
        log_risk, grad = objective(now["params"], Batch(task.x, task.y))
        now["params"], now["state"] = rule.update(now["params"], now["state"], log_risk, grad)

    return step


def released(task: Task, width: int, folder: str) -> Callable[[], None]:
    """The same step on the released network, of the same size."""
    sys.path.insert(0, folder)
    net = importlib.import_module("models").TNNdct3Layers(C, D_IN, width)
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=LR), torch.nn.BCELoss()
    x, labels = task.x[0].unsqueeze(1), (task.y[0] + 1) / 2

    def step() -> None:
        inputs = x.clone().requires_grad_()
        loss(net(inputs).squeeze(), labels).backward()
        attacked = (inputs + EPS * inputs.grad.sign()).clamp(0, 1).detach()
        optimizer.zero_grad()
        loss(net(attacked).squeeze(), labels).backward()
        optimizer.step()

    return step


def gemm(n: int) -> Callable[[], None]:
    """A square matrix product."""
    a, b = torch.rand(n, n), torch.rand(n, n)
    return lambda: a @ b


def slices(width: int) -> Callable[[], None]:
    """The products of all slices of a hidden layer with a batch, and nothing else."""
    w, h = torch.rand(C, width, width), torch.rand(C, width, BATCH)
    return lambda: torch.bmm(w, h)


if __name__ == "__main__":
    timing.run("paper2", "Time a step of experiment A.2; REFERENCE=DIR adds the released code.", main)
