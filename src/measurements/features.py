"""Features of the neurons: their cosines with the cluster means."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Count
from src.errors import ConfigError
from src.models.two_layer_relu import neurons
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, top: Count = 16) -> Measurement:
    """Measure ``neuron_mean_cosine [M, top·k]`` and ``neuron_contribution [M, top]``, largest contribution first.

    The contribution of neuron j is |vⱼ|‖wⱼ‖. The k cosines of a neuron are consecutive, and 0 for a neuron that is 0.
    A network of fewer than ``top`` neurons has shorter columns.

    Raises:
        ConfigError: for data without cluster means.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements", "features", "needs cluster means: data=clusters")

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        incoming, v = neurons(snapshot.params, "features")
        w = incoming[..., :-1].double()
        contribution = v.abs().double() * torch.linalg.vector_norm(w, dim=-1)
        contribution, order = contribution.sort(dim=-1, descending=True, stable=True)
        unit = torch.nn.functional.normalize(w, dim=-1, eps=1e-300)
        means = torch.nn.functional.normalize(task.facts["means"].to(w), dim=-1)
        cosine = (unit @ means.mT).gather(1, order[..., None].expand(-1, -1, means.shape[-2]))
        return {
            "neuron_mean_cosine": cosine[:, :top].flatten(1).cpu(),
            "neuron_contribution": contribution[:, :top].cpu(),
        }

    return measure
