"""N(x) = Σⱼ vⱼ·relu(wⱼ·x/√d)^p, each term over ‖wⱼ‖^(p−1) with weight normalisation. Min and Vidal (2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from src.constraints import Count, Positive, Within
from src.errors import ConfigError
from src.models.two_layer_relu import small_balanced, span_of_data
from src.types import Model, Params, Task


def build(
    task: Task,
    *,
    width: Count = 64,
    power: Annotated[float, Within(1)] = 3.0,
    normalised: bool = True,
    init_scale: Positive = 1e-3,
) -> Model:
    """Build the network without biases, with parameters ``w [M, width, r]`` and ``v [M, width]``.

    Inputs are divided by √d, so that means have norm 1. The degree is 2 with weight normalisation, else p + 1; a power
    of 1 is a ReLU network.

    Args:
        task: data with the fact ``d``.
        width: number of neurons.
        power: p.
        normalised: whether to divide by ‖wⱼ‖^(p−1).
        init_scale: |vⱼ| = ‖wⱼ‖ of every neuron at the start; directions are uniform within the span of the data.

    Raises:
        ConfigError: for data without clusters.
    """
    if "means" not in task.facts:
        raise ConfigError("model.name", "power_relu", "needs data=clusters")
    unit, basis = task.facts["d"] ** -0.5, span_of_data(task)

    def init(seeds: Sequence[int]) -> Params:
        start = small_balanced(seeds, width, basis, 1.0)
        w = torch.nn.functional.normalize(start["w"], dim=-1)
        return {"w": (init_scale * w).to(task.x), "v": (init_scale * start["v"]).to(task.x)}

    def apply(params: Params, x: Tensor) -> Tensor:
        w, v = params["w"], params["v"]
        if normalised:
            # vⱼ relu(wⱼ·x̃)^p / ‖wⱼ‖^(p−1) = vⱼ ‖wⱼ‖ relu(uⱼ·x̃)^p with u = w/‖w‖
            size = torch.linalg.vector_norm(w, dim=-1)
            w, v = w / size[..., None], v * size
        hidden = (unit * x @ w.mT).relu()
        return ((hidden if power == 1 else hidden**power) @ v[..., None]).squeeze(-1)

    return Model(init, apply, degree=2.0 if normalised else power + 1)
