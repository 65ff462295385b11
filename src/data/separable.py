"""Linearly separable data with a planted separator, as vectors or as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from src.constraints import Count, NonNegative
from src.errors import ConfigError
from src.randomness import normal
from src.types import Task


def build(
    seeds: Sequence[int],
    *,
    shape: list[Count] = [8, 10],  # noqa: B006 (read only)
    n: Count = 60,
    n_test: Count = 1000,
    margin: NonNegative = 0.5,
) -> Task:
    """Draw x = g + margin·y·w with g standard normal, y = sign⟨w, g⟩ and w uniform on the unit sphere.

    So w separates the data with an ℓ2 margin of at least ``margin``.

    Args:
        seeds: member i depends on ``seeds[i]`` only.
        shape: shape of an input, ``[d]`` or ``[rows, columns]``.
        n: training examples; ``x`` is ``[M, n, *shape]``.
        n_test: test examples of the same law.
        margin: planted ℓ2 margin.

    Returns:
        A task with the fact ``separator`` ``[M, *shape]``, the planted w.

    Raises:
        ConfigError: unless ``shape`` has one or two entries.
    """
    if len(shape) not in (1, 2):
        raise ConfigError("data.shape", shape, "must be [d] or [rows, columns]")
    size = math.prod(shape)
    w = torch.stack([normal(seed, "separator", (size,)) for seed in seeds])
    w = w / w.norm(dim=1, keepdim=True)

    def draw(rng_key: str, count: int) -> tuple[Tensor, Tensor]:
        g = torch.stack([normal(seed, rng_key, (count, size)) for seed in seeds])
        y = torch.where((g @ w.unsqueeze(-1)).squeeze(-1) >= 0, 1.0, -1.0).double()
        x = g + margin * y.unsqueeze(-1) * w.unsqueeze(-2)
        return x.unflatten(-1, shape), y

    (x, y), (x_test, y_test) = draw("train", n), draw("test", n_test)
    return Task(x, y, x_test, y_test, facts={"separator": w.unflatten(-1, shape)})
