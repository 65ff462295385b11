"""Ranks of the gradient G of every t-layer, and its alignment with the layer W in ℓ2 and in the spectral norm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Fraction
from src.errors import ConfigError
from src.tensors import spectra
from src.tensors.network import tensor_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, tolerance: Fraction = 1e-3) -> Measurement:
    """Measure for every t-layer l, with G = −∇ log L of the objective and the singular values of all slices together:

    ``grad_srank_l`` = ‖G‖_F²/‖G‖_sp², ``grad_nrank_l`` = ‖G‖_*²/‖G‖_F² and ``grad_rank_l``, the number of singular
    values above ``tolerance``·‖G‖_sp; ``kappa_l2_l`` = ⟨G, W⟩/(‖G‖_F‖W‖_F) and ``kappa_sp_l`` = ⟨G, W⟩/(‖G‖_*‖W‖_sp),
    1 at a KKT point of the norm. The stable rank of W is at least kappa_sp²·grad_nrank (docs/bridges.md, B3). NaN for a
    rule without learning rates, whose next step is not known.

    Args:
        task: not used.
        model: a t-NN with whole layers.
        tolerance: relative size below which a singular value counts as 0.

    Raises:
        ConfigError: for a network without t-layers, with factored ones, or with a transform that is not orthogonal.
    """
    network = tensor_network(model, "gradient_ranks")
    multiplicity = network.transform.multiplicity
    if network.mapped is None or not network.transform.orthogonal:
        allowed = "needs whole t-layers and an orthogonal transform: model.rank=null"
        raise ConfigError("measurements", "gradient_ranks", allowed)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        move = snapshot.move()
        params = {name: leaf.detach().double() for name, leaf in snapshot.params.items()}
        gradient = {name: torch.full_like(leaf, torch.nan) for name, leaf in params.items()}
        if move is not None:
            gradient = {name: -leaf for name, leaf in move.gradient.items()}
        columns: dict[str, Tensor] = {}
        layers = zip(*(network.layers(network.hat(of)).values() for of in (params, gradient)), strict=True)
        for number, (w, g) in enumerate(layers, 1):
            sigma, sigma_w = spectra.singular_values(g), spectra.singular_values(w)
            nuclear, size = spectra.tubal_nuclear(sigma, multiplicity), spectra.frobenius(g, multiplicity)
            inner = (multiplicity.to(sigma) * (g.conj() * w).real.sum((-2, -1))).sum(-1)
            above = (sigma > tolerance * spectra.spectral(sigma)[..., None, None]).sum(-1)
            columns |= {
                f"grad_srank_{number}": spectra.stable_rank(sigma, multiplicity),
                f"grad_nrank_{number}": (nuclear / size).square(),
                f"grad_rank_{number}": (multiplicity.to(sigma) * above).sum(-1),
                f"kappa_l2_{number}": inner / (size * spectra.frobenius(w, multiplicity)),
                f"kappa_sp_{number}": inner / (nuclear * spectra.spectral(sigma_w)),
            }
        return {name: values.cpu() for name, values in columns.items()}

    return measure
