"""The network of O10 (docs/paper1.md), which fits the training points and errs on all others, on the same data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.measurements.risk import norm
from src.models.two_layer_relu import balanced
from src.oracles.clusters import harmful_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``harmful_train_errors``, ``harmful_test_errors``, ``harmful_test_points`` and ``harmful_margin``.

    Margins are normalised, min qᵢ/‖θ‖² with |vⱼ| = ‖(wⱼ, bⱼ)‖, which gives the least norm of this function.

    Raises:
        ConfigError: for a task without clusters.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements.harmful_network", "{}", "needs data=clusters")

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = balanced(harmful_network(task))
        q, q_test = (y * model.apply(params, x) for x, y in ((task.x, task.y), (task.x_test, task.y_test)))
        return {
            "harmful_train_errors": (~(q > 0)).sum(-1),
            "harmful_test_errors": (~(q_test > 0)).sum(-1),
            "harmful_test_points": torch.full_like(q_test[:, 0], q_test.shape[-1]),
            "harmful_margin": q.amin(-1) / norm(params) ** 2,
        }

    return measure
