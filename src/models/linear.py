"""Linear model f(x) = ⟨W, x⟩, homogeneous of degree 1; its largest margin is known exactly in every norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from src.constraints import NonNegative
from src.randomness import normal
from src.types import Model, Params, Task


def build(task: Task, *, scale: NonNegative = 0.0) -> Model:
    """Build f(x) = ⟨W, x⟩ with one leaf "w" of the shape of an input: ``[M, 1, d]`` or, for matrices, ``[M, a, b]``.

    ``scale`` is α in W ~ N(0, α²/(size of x)); at 0, the default, training starts at W = 0.
    """
    inputs = task.x.shape[task.y.ndim :]
    shape = inputs if len(inputs) > 1 else (1, *inputs)

    def init(seeds: Sequence[int]) -> Params:
        draws = torch.stack([normal(seed, "weights", shape) for seed in seeds])
        return {"w": (scale / math.sqrt(math.prod(shape)) * draws).to(task.x)}

    def apply(params: Params, x: Tensor) -> Tensor:
        features = x.flatten(x.ndim - len(inputs))
        return (params["w"].flatten(1).unsqueeze(-2) @ features.mT).squeeze(-2)

    return Model(init, apply, degree=1.0)
