"""Balance of the layers, ‖(wⱼ, bⱼ)‖ = |vⱼ| per neuron: gradient flow conserves it, so it measures discretisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.models.two_layer_relu import neurons
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``balance_error`` = maxⱼ | ‖(wⱼ, bⱼ)‖ − |vⱼ| | / maxⱼ |vⱼ| of a two-layer ReLU network."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        incoming, v = neurons(snapshot.params, "balance")
        gap = (torch.linalg.vector_norm(incoming, dim=-1) - v.abs()).abs()
        return {"balance_error": (gap.amax(-1) / v.abs().amax(-1)).cpu().double()}

    return measure
