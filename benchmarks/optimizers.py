"""Time a step of every optimizer: all members in one batch, one member at a time, and with ``torch.optim``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import Ratio, ratios
from src.config.components import CONF, component
from src.config.schema import arguments, option
from src.data import mnist
from src.models import mlp
from src.training.objectives import logistic
from src.types import Batch, Model, Task

MEMBERS, STEPS = 16, 5
SIZES = {"n=64, d=49, m=16": (64, 49, 16), "n=256, d=196, m=64": (256, 196, 64)}
TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "gd": torch.optim.SGD,
    "muon_newton_schulz": torch.optim.Muon,
}


def measure(smoke: bool) -> list[Ratio]:
    """Return the ratios of every optimizer in ``conf/optimizer``, at two sizes.

    With ``smoke``, of those that torch has, at the smaller size.
    """
    found = []
    for size, (n, d, width) in list(SIZES.items())[: 1 if smoke else None]:
        task = images(n, d)
        model = mlp.build(task, width=width)
        for name in TORCH if smoke else sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml")):
            others = {f"one member at a time over one batch of {MEMBERS}, {size}": steps(task, model, name, 1)}
            if name in TORCH:
                series = f"torch.optim over one batch of {MEMBERS}, {size}"
                others[series] = torch_steps(task, model, TORCH[name])
            found += ratios(name, steps(task, model, name, MEMBERS), others, smoke)
    return found


def images(n: int, d: int) -> Task:
    """Return digits pooled to 14×14, and for d = 49 to 7×7."""
    task = mnist.build(range(MEMBERS), n=n)
    if d == 196:
        return task
    x = torch.nn.functional.avg_pool2d(task.x.unflatten(-1, (14, 14)), 2).flatten(-2)
    return task._replace(x=x / x.norm(dim=-1, keepdim=True))


def steps(task: Task, model: Model, name: str, at_once: int) -> Callable[[], None]:
    """Return the first steps of all members, ``at_once`` together, with the optimizer's own YAML."""
    options: dict[str, Any] = arguments("optimizer", option("optimizer", name))
    start = model.init(range(MEMBERS))
    groups = []
    for group in torch.arange(MEMBERS).split(at_once):
        own = task._replace(x=task.x[group], y=task.y[group])
        rule = component("optimizer", name)(own, model, **options)
        groups.append((rule, logistic(own, model), Batch(own.x, own.y), {k: leaf[group] for k, leaf in start.items()}))

    def run() -> None:
        for rule, objective, batch, params in groups:
            state = rule.init(params)
            for _ in range(STEPS):
                params, state = rule.update(params, state, *objective(params, batch))

    return run


def torch_steps(task: Task, model: Model, optimizer_of: Callable[..., torch.optim.Optimizer]) -> Callable[[], None]:
    """Return the same steps, one member after the other, as a user of ``torch.optim`` writes them."""
    start = model.init(range(MEMBERS))

    def run() -> None:
        for i in range(MEMBERS):
            w1, w2 = leaves = [torch.nn.Parameter(leaf[i].clone()) for leaf in start.values()]
            optimizer = optimizer_of(leaves, lr=1e-3)
            for _ in range(STEPS):
                optimizer.zero_grad()
                outputs = (w2 @ (w1 @ task.x[i].mT).relu() ** 2).squeeze(0)
                torch.nn.functional.softplus(-task.y[i] * outputs).mean().backward()
                optimizer.step()

    return run
