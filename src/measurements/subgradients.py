"""Do the subgradients converge? Assumption (T3) of Gronich and Vardi (2026, v1) for networks that are not smooth.

(T3): h(x_i; θ_t)/‖θ_t‖^{L−1} converges, with h a subgradient of f(x_i; ·) along the trajectory. Every row has a random
sketch of (h(x_1), …, h(x_K)) over its norm, as ``direction`` has of θ, and rows read from files have the cosine with
the last one. On smooth networks it tends to 1 with the direction; with ReLU it does not if activations keep changing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Count
from src.measurements.direction import sketch
from src.measurements.kkt_multipliers import example_gradients
from src.measurements.members import one_member
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, examples: Count = 16, size: Count = 256) -> Measurement:
    """Measure ``subgradient_sketch [M, size]``, of the first ``examples`` training examples, to six decimals."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        sketches = []
        for member in range(len(snapshot.log_risk)):
            x, y, params = one_member(task, snapshot.params, member)
            h = example_gradients(model, params, x[:examples], torch.ones_like(y[:examples]))
            flat = torch.cat([leaf.flatten() for leaf in h.values()])
            sketches.append(sketch((flat / torch.linalg.vector_norm(flat)).unsqueeze(0), size))
        return {"subgradient_sketch": torch.cat(sketches)}

    return measure
