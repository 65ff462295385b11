"""How large stable ranks can be at a margin: an exact upper bound on Theorem 10's quantity, at any network.

With M = s·O and O orthogonal, ‖W *_M h‖_F ≤ s‖W‖_sp‖h‖_F, and ReLU is no longer than its argument, so

    q_i = y_i f(x_i) ≤ ‖x_i‖_F ‖w‖ ∏_l s‖W^l‖_sp .

Divided by ∏_l s‖W^l‖_F this bounds the geometric mean of ρ_l = ‖W^l‖_sp/‖W^l‖_F from below, and so their harmonic mean
of the inverses from above: n/Σ_l ρ_l ≤ γ̂^(−1/n). See docs/paper2.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.tensors.network import layer_norm, tensor_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Columns ``product_margin`` γ̂ = min_i q_i/(‖x_i‖_F ‖w‖ ∏_l s‖W^l‖_F) over the training set and ``ratio_bound``
    γ̂^(−1/n) for n t-layers, above ``harmonic_ratio`` (``tensor_ranks``); infinite where an example is misclassified.

    Args:
        task: its training set; the facts of a teacher, if any, are told too.
        model: a t-NN without bias under an orthogonal O.

    Raises:
        ConfigError: for any other network.
    """
    network = tensor_network(model, "margin_bound")
    if model.degree is None or not network.transform.orthogonal:
        allowed = "needs a t-NN without bias and an orthogonal transform: model.bias=false"
        raise ConfigError("measurements", "margin_bound", allowed)
    size = task.x.flatten(-2).norm(dim=-1)
    known: list[str] = [name for name in ("teacher_margin", "teacher_ratio") if name in task.facts]
    facts = {name: task.facts[name].cpu() for name in known}

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        with torch.no_grad():
            hat = network.hat(snapshot.params)
            layers = network.layers(hat).values()
            q = (task.y * network.forward(hat, task.x) / size).amin(-1).double()
            norms = [layer_norm(network, layer).double() for layer in layers]
            product = network.scale ** len(norms) * torch.stack(norms).prod(0) * hat["v"].flatten(1).norm(dim=1)
        margin = (q / product).cpu()
        bound = torch.where(margin > 0, margin, torch.nan) ** (-1 / len(norms))
        return {"product_margin": margin, "ratio_bound": bound.nan_to_num(torch.inf), **facts}

    return measure
