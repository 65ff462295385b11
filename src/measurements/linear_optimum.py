"""The margin of a linear model over the maximum margin, in several norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError
from src.measurements.norm_margins import weighted_gradient
from src.optimizers import norms as geometry
from src.oracles.max_margin import dual_bound, max_margin
from src.types import Measurement, Model, Snapshot, Task


def build(
    task: Task,
    model: Model,
    *,
    norms: list[Literal["l2", "linf", "msp", "rows"]] = ["l2", "linf", "msp"],  # noqa: B006 (read only)
) -> Measurement:
    """Measure for each of ``norms``, with γ = min_i y_i ⟨W, x_i⟩ / ‖W‖ and γ* its maximum:

    ``optimum_<norm>``, γ*, solved once; ``ratio_<norm>``, γ/γ*; and ``certified_<norm>``, γ over the dual bound
    ‖Σ λ_i y_i x_i‖_* ≥ γ* of the training weights λ = softmax(−softplus(q)), a lower bound on the ratio that needs no
    solver.

    Raises:
        ConfigError: for a network that is not linear, data that are not separable, or a norm that needs cvxpy if it is
            not installed.
    """
    if model.degree != 1:
        raise ConfigError("measurements.linear_optimum", norms, "needs a linear model: model=linear")
    x = task.x if task.x.ndim - task.y.ndim > 1 else task.x.unsqueeze(-2)
    pairs = [(x, task.y)] if task.y.ndim == 1 else zip(x, task.y, strict=True)  # one if examples are shared
    data_sets = [(inputs.cpu().double().numpy(), labels.cpu().double().numpy()) for inputs, labels in pairs]
    optima = {
        name: torch.tensor([max_margin(*data, name).margin for data in data_sets], dtype=torch.float64)
        for name in norms
    }

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        q, lam, _ = weighted_gradient(task, model, snapshot.params)
        q_min, weights = q.amin(-1).cpu().double(), lam.cpu().double().numpy()
        of_member = data_sets * (len(q) // len(data_sets))
        columns = {}
        for name, optimum in optima.items():
            margin = q_min / geometry.norm_from_name(name).value(snapshot.params).cpu().double()
            bounds = [
                dual_bound(*data, multipliers, name) if np.isfinite(multipliers).all() else np.nan  # diverged
                for data, multipliers in zip(of_member, weights, strict=True)
            ]
            columns[f"optimum_{name}"] = optimum.expand(len(q))
            columns[f"ratio_{name}"] = margin / optimum
            columns[f"certified_{name}"] = margin / torch.tensor(bounds, dtype=torch.float64)
        return columns

    return measure
