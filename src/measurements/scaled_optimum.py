"""The largest margin in the norm √(Σ s_j θ_j²), which Adam with one example per step is predicted to reach."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from src.errors import ConfigError
from src.oracles.max_margin import max_margin, norm_of
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``ratio_scaled``, the margin in ‖θ‖_s = √(Σ s_j θ_j²) over the largest one (docs/bridges.md, B5).

    The separators that attain the largest margins in ‖·‖_s and ℓ∞ predict the ratios in the other norms:
    ``scaled_in_l2``, ``scaled_in_linf`` and ``linf_in_l2`` are margin over largest margin in the second norm.

    Raises:
        ConfigError: for data without scales or a network that is not linear.
    """
    if "scales" not in task.facts or model.degree != 1:
        raise ConfigError("measurements", "scaled_optimum", "needs data=rademacher and model=linear")
    root = task.facts["scales"].double().sqrt()
    scaled, others = [], []
    for x, y in zip(task.x.cpu().double().numpy(), task.y.cpu().double().numpy(), strict=True):
        # ⟨θ, x⟩ = ⟨√s θ, x/√s⟩
        optimum = max_margin(x / root.cpu().numpy(), y, "l2")
        l2, linf = max_margin(x, y, "l2"), max_margin(x, y, "linf")
        theta = optimum.separator[0] / root.cpu().numpy()
        scaled.append(optimum.margin)
        others.append([
            _margin(theta, x, y, "l2") / l2.margin,
            _margin(theta, x, y, "linf") / linf.margin,
            _margin(linf.separator[0], x, y, "l2") / l2.margin,
        ])  # fmt: skip
    largest = torch.tensor(scaled, dtype=torch.float64)
    names = ("scaled_in_l2", "scaled_in_linf", "linf_in_l2")
    predicted = dict(zip(names, torch.tensor(others, dtype=torch.float64).unbind(1), strict=True))

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        size = torch.linalg.vector_norm(root.to(task.x) * snapshot.params["w"].squeeze(1), dim=-1)
        margin = (task.y * model.apply(snapshot.params, task.x)).amin(-1) / size
        return {"ratio_scaled": margin.cpu().double() / largest, **predicted}

    return measure


def _margin(theta: np.ndarray, x: np.ndarray, y: np.ndarray, norm: str) -> float:
    return float((y * (x @ theta.ravel())).min() / norm_of([theta], norm))
