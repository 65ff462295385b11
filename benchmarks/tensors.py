"""Time a training step of paper 2's experiment A.2 (FGSM and SGD, batch 80, float32).

The baseline is our step. Compare it with its matrix products alone, and with a step of the released code if the
variable ``REFERENCE`` names a checkout of it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import Ratio, ratios
from src.models import tnn
from src.optimizers import sgd
from src.training.objectives import adversarial
from src.types import Batch, Task

BATCH, EPS, LR, D_IN, C = 80, 16 / 255, 1e-4, 28, 28


def measure(smoke: bool) -> list[Ratio]:
    """Return the ratios for each D."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1, BATCH, D_IN, C, generator=draw)
    y = torch.where(torch.rand(1, BATCH, generator=draw) < 0.5, -1.0, 1.0)
    task = Task(x, y, x[0], y[0], {})
    found = []
    for width in (28,) if smoke else (28, 128, 256):
        others = {"the slices' matrix products alone over our step": products(width)}
        if folder := os.environ.get("REFERENCE"):
            others["released code over our step"] = released(task, width, folder)
        found += ratios(f"D={width}", step(task, width), others, smoke)
    return found


def step(task: Task, width: int) -> Callable[[], None]:
    """Return one step of this suite after the other."""
    model: Any = tnn.build(task, width=width)
    objective, rule = adversarial(task, model, eps=EPS), sgd.build(task, model, lr=LR)
    params = model.init([0])
    state = rule.init(params)

    def run() -> None:
        nonlocal params, state
        params, state = rule.update(params, state, *objective(params, Batch(task.x, task.y)))

    return run


def products(width: int) -> Callable[[], None]:
    """Return the slices' products of a step: two forward passes, two backward, and one for the weights' gradients.

    The first layer has one less, since the step needs no gradient of the images.
    """
    first, hidden = torch.rand(C, width, D_IN), torch.rand(C, width, width)
    images, activations = torch.rand(C, D_IN, BATCH), torch.rand(C, width, BATCH)

    def run() -> None:
        for _ in range(4):
            torch.bmm(first, images)
        for _ in range(2 * 5):
            torch.bmm(hidden, activations)

    return run


def released(task: Task, width: int, folder: str) -> Callable[[], None]:
    """Return the same step on the released network of the same size."""
    sys.path.insert(0, folder)
    net = importlib.import_module("models").TNNdct3Layers(C, D_IN, width)
    sys.path.remove(folder)
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=LR), torch.nn.BCELoss()
    x, labels = task.x[0].unsqueeze(1), (task.y[0] + 1) / 2

    def run() -> None:
        inputs = x.clone().requires_grad_()
        loss(net(inputs).squeeze(), labels).backward()
        assert inputs.grad is not None
        attacked = (inputs + EPS * inputs.grad.sign()).clamp(0, 1).detach()
        optimizer.zero_grad()
        loss(net(attacked).squeeze(), labels).backward()
        optimizer.step()

    return run
