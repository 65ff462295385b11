"""A fixed random sketch of θ/‖θ‖, from which cosines between any two snapshots follow: does the direction converge?

The cosine with the last iterate is known only at the end, and measurements have no state, so that resumed and
uninterrupted runs agree. So every row has S(θ/‖θ‖) for a fixed sparse sketch S: each coordinate, with a random sign, is
added to one of K buckets (Charikar et al., 2002). Since E‖S a − S b‖² = ‖a − b‖²,

    cos(θ_t, θ_T) = 1 − ‖a − b‖²/2 ≈ 1 − ‖s_t − s_T‖²/2,

and the standard error of 1 − cos is at most √(2/K) of it: 9 % at K = 256, for any number of parameters. A decaying
learning rate alone makes the cosine rise, so compare it with the growth of the column ``norm``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from src.constraints import Count
from src.measurements.risk import norm
from src.randomness import generator
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, size: Count = 256) -> Measurement:
    """Measure ``direction_sketch [M, size]``, rounded to six decimals; S is the same for all members and seeds."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        flat = torch.cat([leaf.flatten(1) for leaf in snapshot.params.values()], 1)
        return {"direction_sketch": sketch(flat / norm(snapshot.params).unsqueeze(1), size)}

    return measure


def sketch(vectors: Tensor, size: int) -> Tensor:
    """Return S v ``[M, size]`` of vectors ``[M, P]``, in float64 rounded to six decimals."""
    vectors = vectors.cpu().double()
    bucket, sign = _buckets(vectors.shape[1], size)
    return torch.zeros(len(vectors), size, dtype=torch.float64).index_add_(1, bucket, sign * vectors).round(decimals=6)


@lru_cache(maxsize=2)  # one for the weights, one for the subgradients
def _buckets(coordinates: int, size: int) -> tuple[Tensor, Tensor]:
    """Draw the bucket in 0 … size − 1 and the sign ±1 of every coordinate."""
    stream = generator(0, "direction sketch", coordinates, size)
    bucket = torch.randint(size, (coordinates,), generator=stream)
    sign = 2.0 * torch.randint(2, (coordinates,), generator=stream) - 1.0
    return bucket, sign.double()
