"""Normalised margins of a homogeneous network, as in Lyu & Li (2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.measurements.risk import norm
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``margin``, ``smoothed_margin``, ``slackness_softmax`` and, where its optimum is known, ``margin_ratio``.

    With qᵢ = yᵢN(xᵢ) on the training set, they are the normalised margin min q/‖θ‖^L; the smoothed one,
    −log Σe^{−q}/‖θ‖^L, lower by at most log n/‖θ‖^L; Σ pᵢ(qᵢ/min q − 1), the complementary slackness of the weights
    p = softmax(−q) of the gradient (NaN unless min q > 0); and the margin over the fact ``margin_oracle``.

    Raises:
        ConfigError: for a network without a degree of homogeneity L.
    """
    degree = model.degree
    if degree is None:
        raise ConfigError("measurements", "margin", "a normalised margin needs a homogeneous network")

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        with torch.no_grad():
            q = (task.y * model.apply(snapshot.params, task.x)).double()
        size = norm(snapshot.params).double() ** degree
        least = q.amin(-1)
        columns = {
            # γ = min qᵢ / ‖θ‖^L
            "margin": least / size,
            # γ̃ = −log Σ e^{−qᵢ} / ‖θ‖^L
            "smoothed_margin": -torch.logsumexp(-q, -1) / size,
            "slackness_softmax": slackness(q, torch.softmax(-q, -1)),
        }
        if "margin_oracle" in task.facts:
            columns["margin_ratio"] = columns["margin"] / task.facts["margin_oracle"].to(size)
        return {name: column.cpu() for name, column in columns.items()}

    return measure


def slackness(q: Tensor, multipliers: Tensor) -> Tensor:
    """Return Σλᵢ(qᵢ/min q − 1) / Σλᵢ ``[M]`` for q and λ ``[M, N]``: 0 iff only points on the margin have λᵢ > 0.

    It is NaN unless all points are classified correctly and a multiplier is positive.
    """
    least = q.amin(-1, keepdim=True)
    excess = (multipliers * (q / least - 1)).sum(-1) / multipliers.sum(-1)
    return torch.where(least.squeeze(-1) > 0, excess, torch.nan)
