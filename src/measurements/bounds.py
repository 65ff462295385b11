"""Generalisation bounds for t-NNs, in a recalled form.

These forms were not compared with the theorems of Wang et al. (2023): constants and logarithms are set to 1, so only
ratios of the bounds are meaningful. See docs/paper2.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from src.constraints import Share
from src.tensors import spectra
from src.tensors.network import layer_norm, tensor_network
from src.types import Measurement, Model, Snapshot, Task


def build(
    task: Task, model: Model, *, eps: Share = 16 / 255, norm: Literal["linf", "l2"] = "linf", tolerance: Share = 1e-3
) -> Measurement:
    """Measure bounds on the gap between training and test risk of a 1-Lipschitz loss.

    ``bound_standard`` = B_x B_w ∏_l B_l (√(2 log 2·(L + 1)) + 1)/√N for the standard risk;
    ``bound_adversarial`` = (B_x + Cξ) B_w ∏_l B_l √(c Σ_l d_{l−1}d_l)/√N for the adversarial one;
    ``bound_low_rank``, the same with c Σ_l r_l(d_{l−1} + d_l) for layers of tubal rank r_l, smaller only at low rank;
    ``bound_approximate`` = min_r [bound(r) + 2δ_r], for layers near to tubal rank r: bound(r) has r_l = r, at most the
    sum of whole layers, and δ_r = (B_x + Cξ) B_w ∏_l s‖W^l‖_sp · Σ_l σ_{r+1}(W^l)/‖W^l‖_sp is the largest change of an
    output by truncation; ``rank_approximate``, its r; ``parameters_full`` and ``parameters_low_rank``, the two sums.
    B_x = max ‖x‖_F, B_w = ‖w‖ and B_l = s·‖W^l‖_F (M = s·O), as measured; Cξ is the largest F-norm of a perturbation.

    Args:
        task: its training set.
        model: a t-NN.
        eps: ξ, radius of the attack.
        norm: norm of the ball.
        tolerance: singular values up to this fraction of the largest count as 0 in r_l.

    Raises:
        ConfigError: for a network without t-layers.
    """
    network = tensor_network(model, "bounds")
    examples = task.y.shape[-1]
    largest_input = float(task.x.flatten(-2).norm(dim=-1).max())
    d, c = task.x.shape[-2:]
    largest_perturbation = eps * (math.sqrt(c * d) if norm == "linf" else 1.0)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        with torch.no_grad():
            layers = network.layers(network.hat(snapshot.params))
            product = snapshot.params["v"].flatten(1).norm(dim=1).double()
            full, low = torch.zeros_like(product), torch.zeros_like(product)
            spectral_product = product
            top = max(min(hat.shape[-2:]) for hat in layers.values())
            ranks = torch.arange(1, top + 1, dtype=product.dtype, device=product.device)  # r = 1 … R
            kept, lost = torch.zeros_like(ranks), product.new_zeros(len(product), top)
            for hat in layers.values():
                product = product * network.scale * layer_norm(network, hat).double()
                height, width = hat.shape[-2:]
                sigma = spectra.singular_values(hat).double()
                rank, largest = spectra.tubal_rank(sigma, tolerance), spectra.spectral(sigma)
                full += c * height * width
                low += c * rank * (height + width)
                spectral_product = spectral_product * network.scale * largest
                kept = kept + c * (ranks * (height + width)).clamp(max=height * width)
                after = pad(sigma.amax(-2), (0, top + 1 - sigma.shape[-1]))[:, 1:]  # σ_{r+1}, 0 beyond the last
                lost = lost + after / largest.unsqueeze(-1)
        root = math.sqrt(examples)
        adversarial = (largest_input + largest_perturbation) * product / root
        change = (largest_input + largest_perturbation) * spectral_product.unsqueeze(-1) * lost
        approximate = (adversarial.unsqueeze(-1) * kept.sqrt() + 2 * change).min(-1)
        depth = math.sqrt(2 * math.log(2) * (len(layers) + 1)) + 1
        columns = {
            "bound_standard": largest_input * product * depth / root,
            "bound_adversarial": adversarial * full.sqrt(),
            "bound_low_rank": adversarial * low.sqrt(),
            "bound_approximate": approximate.values,
            "rank_approximate": approximate.indices + 1,
            "parameters_full": full,
            "parameters_low_rank": low,
        }
        return {name: values.cpu() for name, values in columns.items()}

    return measure
