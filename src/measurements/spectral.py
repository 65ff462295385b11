"""What a spectral bias does to a two-layer network on clusters: its stable rank, and its margins over closed forms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.measurements.stable_ranks import stable_rank
from src.models.two_layer_relu import neurons
from src.oracles.clusters import spectral_margin
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``stable_rank``, ``msp_optimum`` and ``rescaled_margin_ratio`` of a two-layer ReLU network on clusters.

    ``stable_rank``: ‖W‖_F²/‖W‖_sp². ``msp_optimum``: the largest margin in the norm max(‖W‖_sp, ‖v‖) on the means, see
    ``oracles.clusters.spectral_margin``. ``rescaled_margin_ratio``: min q/(2 Σⱼ |vⱼ|‖(wⱼ, bⱼ)‖), the ℓ2 margin after
    the neurons are balanced, over the fact ``margin_oracle``.

    Raises:
        ConfigError: for data without balanced clusters.
    """
    labels = task.facts.get("labels")
    if labels is None or labels.sum(-1).any():
        raise ConfigError("measurements", "spectral", "needs as many clusters of either label: data=clusters")
    optimum = spectral_margin(task.facts["d"], task.facts["k"])

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.double() for name, leaf in snapshot.params.items()}
        incoming, v = neurons(params, "spectral")
        with torch.no_grad():
            least = (task.y * model.apply(snapshot.params, task.x)).double().amin(-1)
        # ‖θ‖² ≥ 2 Σⱼ |vⱼ|‖(wⱼ, bⱼ)‖, with equality for balanced neurons
        size = 2 * (v.abs() * torch.linalg.vector_norm(incoming, dim=-1)).sum(-1)
        columns = {
            "stable_rank": stable_rank(torch.linalg.svdvals(params["w"])),
            "msp_optimum": torch.full_like(least, optimum),
            "rescaled_margin_ratio": least / size / task.facts["margin_oracle"].double(),
        }
        return {name: column.cpu() for name, column in columns.items()}

    return measure
