"""Time a step of paper 3's rules at its number of images, over the time of the matrix products that it needs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.timing import Ratio, ratios
from src.config.components import component
from src.config.schema import arguments, option
from src.data import mnist
from src.models import mlp
from src.training.objectives import exponential
from src.types import Batch, Task

RULES = ("ngd", "nmd", "signum", "adam", "muon", "muon_adam")


def measure(smoke: bool) -> list[Ratio]:
    """Return the time of a step over that of 4·n·d·w FLOP as two matrix products, and over that of NGD."""
    n, width = (64, 16) if smoke else (2048, 512)
    drawn = mnist.build([0], n=n, n_test=1, pool=False, scale="pixels")
    x, y, x_test, y_test = (part.float() for part in (drawn.x, drawn.y, drawn.x_test, drawn.y_test))
    task = Task(x, y, x_test, y_test, drawn.facts)
    model = mlp.build(task, width=width, scale=0.01)
    objective, batch, start = exponential(task, model, reduction="sum"), Batch(x, y), model.init([0])

    def steps(name: str) -> Callable[[], None]:
        options = arguments("optimizer", option("optimizer", name))
        rule = component("optimizer", name)(task, model, **options | {"lr": 1e-3})
        state = rule.init(start)

        def step() -> None:
            rule.update(start, state, *objective(start, batch))

        return step

    w, hidden = torch.randn(1, width, x.shape[-1]), torch.randn(1, width, n)

    def products() -> None:
        torch.matmul(w, x.mT)  # the forward pass, and the gradient of the weights; inputs need none
        torch.matmul(hidden, x)

    size = f"n={n}, d=784, m={width}"
    found = []
    for name in RULES:
        found += ratios(name, products, {f"a step over its matrix products, {size}": steps(name)}, smoke)
    for name in RULES[1:]:
        found += ratios(name, steps("ngd"), {f"a step over one of NGD, {size}": steps(name)}, smoke)
    return found
