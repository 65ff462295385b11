"""An exact upper bound on the quantity of Theorem 10 from the margin, for any network: stable ranks at that margin.

With M = s·O and O orthogonal, ‖W *_M h‖_F ≤ s‖W‖_sp‖h‖_F, and ReLU does not increase norms, so

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
    """Measure ``product_margin`` γ̂ and ``ratio_bound`` γ̂^(−1/n) for n t-layers, and the facts of a teacher, if any.

    γ̂ = min_i q_i/(‖x_i‖_F ‖w‖ ∏_l s‖W^l‖_F) over the training set. The bound is at least ``harmonic_ratio``
    (``tensor_ranks``), and infinite where an example is misclassified.

    Raises:
        ConfigError: for any network but a t-NN without bias under an orthogonal O.
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
