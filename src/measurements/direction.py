"""Does θ/‖θ‖ converge? A fixed random sketch of it, from which cosines between any two snapshots follow.

The cosine with the last iterate is known only at the end, and a measurement keeps no history, so that a resumed
run measures what an unbroken one does. So every row holds S(θ/‖θ‖) for a fixed sparse sketch S: each coordinate, with
a random sign, is added to one of K places (Charikar et al., 2002). Since E‖S a − S b‖² = ‖a − b‖²,

    cos(θ_t, θ_T) = 1 − ‖a − b‖²/2 ≈ 1 − ‖s_t − s_T‖²/2,

and the standard error of 1 − cos is at most √(2/K) of it: 9 % at K = 256, whatever the number of parameters. Step
sizes that decay make the cosine rise by themselves; read it with the growth of the column ``norm``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Count
from src.measurements.risk import norm
from src.randomness import generator
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, size: Count = 256) -> Measurement:
    """Column ``direction_sketch`` ``[M, size]``, rounded to six decimals; the same S for all members and seeds."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        flat = torch.cat([leaf.flatten(1) for leaf in snapshot.params.values()], 1)
        direction = (flat / norm(snapshot.params).unsqueeze(1)).cpu().double()
        place, sign = _sketch(direction.shape[1], size)
        sketch = torch.zeros(len(direction), size, dtype=torch.float64).index_add_(1, place, sign * direction)
        return {"direction_sketch": sketch.round(decimals=6)}

    return measure


def _sketch(coordinates: int, size: int) -> tuple[Tensor, Tensor]:
    """Place in 0 … size − 1 and sign ±1 of every coordinate."""
    stream = generator(0, "direction sketch", coordinates, size)
    place = torch.randint(size, (coordinates,), generator=stream)
    sign = 2.0 * torch.randint(2, (coordinates,), generator=stream) - 1.0
    return place, sign.double()
