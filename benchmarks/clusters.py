"""Time training steps of paper 1 in ℝᵈ and in the coordinates of the data's span."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

from benchmarks.timing import Ratio, ratios
from src.data import clusters
from src.models import two_layer_relu
from src.optimizers import margin_flow
from src.training.objectives import exponential
from src.types import Batch

WIDTH, STEPS = 64, 3


def measure(smoke: bool) -> list[Ratio]:
    """Return the ratios of ℝᵈ to reduced coordinates for each d."""
    found = []
    for d in (256,) if smoke else (1024, 8192, 65536):
        others = {"ℝᵈ over reduced coordinates, k=8, n=128, m=64": steps(d, "full")}
        found += ratios(f"d={d}", steps(d, "reduced"), others, smoke)
    return found


def steps(d: int, coordinates: Literal["reduced", "full"]) -> Callable[[], None]:
    """Return the first steps of the trainer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the assumption of the theorem does not matter here
        task = clusters.build([0], k=8, d=d, n=128, n_test=10, coordinates=coordinates)
    model = two_layer_relu.build(task, width=WIDTH)
    rule, objective, batch = margin_flow.build(task, model), exponential(task, model), Batch(task.x, task.y)

    def run() -> None:
        params = model.init([0])
        state = rule.init(params)
        for _ in range(STEPS):
            params, state = rule.update(params, state, *objective(params, batch))

    return run
