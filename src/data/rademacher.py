"""Linearly separable data whose examples have entries of one size each: |x_ij| = a_i s_j."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from src.constraints import Count, Within
from src.randomness import normal, uniform
from src.types import Task


def build(
    seeds: Sequence[int],
    *,
    d: Count = 25,
    n: Count = 10,
    n_test: Count = 1000,
    sizes: Annotated[float, Within(1)] = 4.0,
    spread: Annotated[float, Within(1)] = 1.0,
) -> Task:
    """Draw x_ij = a_i s_j r_ij with random signs r and y = sign⟨w, r⟩ for a Gaussian w.

    At s = 1 every gradient of one example has entries of one size, so that Adam's second moment is the same for all
    coordinates (docs/bridges.md).

    Args:
        seeds: member i depends on ``seeds[i]`` only.
        d: dimension of the inputs.
        n: training examples; ``x`` is ``[M, n, d]``.
        n_test: test examples of the same law.
        sizes: largest over smallest size; log a is uniform, with mean 0.
        spread: largest over smallest scale of a coordinate; the s_j are a geometric sequence with mean log 0.

    Returns:
        A task with the facts ``scales`` ``[d]``, the s_j, and ``separator`` ``[M, d]``, w/s.
    """
    scales = torch.exp(math.log(spread) * (torch.linspace(0, 1, d, dtype=torch.float64) - 0.5))
    w = torch.stack([normal(seed, "separator", (d,)) for seed in seeds])

    def draw(rng_key: str, count: int) -> tuple[Tensor, Tensor]:
        signs = torch.stack([normal(seed, f"{rng_key} signs", (count, d)).sign() for seed in seeds])
        logs = torch.stack([uniform(seed, f"{rng_key} sizes", (count, 1)) for seed in seeds]) - 0.5
        y = (signs @ w.unsqueeze(-1)).squeeze(-1).sign()
        return torch.exp(math.log(sizes) * logs) * scales * signs, y

    (x, y), (x_test, y_test) = draw("train", n), draw("test", n_test)
    return Task(x, y, x_test, y_test, facts={"scales": scales, "separator": w / scales})
