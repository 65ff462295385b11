"""Norms, tubal ranks and stable ranks of the t-layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Fraction
from src.tensors import spectra
from src.tensors.network import layer_norm, tensor_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, tolerance: Fraction = 1e-3, spectrum: bool = False) -> Measurement:
    """Measure norms and ranks of every t-layer l, with slices Ŵᵢ of Ŵ = O(W); O is orthogonal but in the released code.

    ``fnorm_l`` = ‖W‖_F, ``specnorm_l`` = ‖W‖_sp = maxᵢ σ₁(Ŵᵢ), ``nuclear_l`` = Σᵢ ‖Ŵᵢ‖_*; ``srank_l`` = ‖Ŵ‖_F²/‖W‖_sp²,
    the stable rank, and ``slice_srank_l``, its mean over slices; ``tubal_rank_l`` = maxᵢ rank Ŵᵢ; ``top_slice_l``, the
    largest fraction of ‖Ŵ‖_F² in one slice; ``rho_l`` = ‖W‖_sp/‖W‖_F = 1/√srank, in the released code the square root
    of the effective rank. Over all layers: ``fnorm_v`` = ‖w‖ with w of the last layer, ``norm_product`` = ‖w‖ ∏ ‖W‖_F,
    and ``harmonic_ratio``, the harmonic mean of ‖W‖_F/‖W‖_sp (the quantity of Theorem 10, as recalled).

    Args:
        task: not used.
        model: a t-NN.
        tolerance: singular values up to this fraction of ‖W‖_sp count as 0 in ``tubal_rank_l``.
        spectrum: also ``spectrum_l`` ``[M, slices·min(D, d)]``, all singular values, slice by slice.

    Raises:
        ConfigError: for a network without t-layers.
    """
    network = tensor_network(model, "tensor_ranks")
    multiplicity = network.transform.multiplicity

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        columns: dict[str, Tensor] = {}
        rho = []
        with torch.no_grad():
            layers = network.layers(network.hat(snapshot.params))
            for number, hat in enumerate(layers.values(), 1):
                sigma = spectra.singular_values(hat).double()
                size, largest = layer_norm(network, hat).double(), spectra.spectral(sigma)
                rho.append(largest / size)
                of_layer = {
                    "fnorm": size,
                    "specnorm": largest,
                    "nuclear": spectra.tubal_nuclear(sigma, multiplicity),
                    "srank": spectra.stable_rank(sigma, multiplicity),
                    "slice_srank": spectra.slice_stable_rank(sigma, multiplicity),
                    "tubal_rank": spectra.tubal_rank(sigma, tolerance),
                    "top_slice": spectra.top_slice_energy(sigma, multiplicity),
                    "rho": rho[-1],
                }
                if spectrum:
                    of_layer["spectrum"] = sigma.flatten(1)
                columns |= {f"{name}_{number}": values for name, values in of_layer.items()}
        sizes = [columns[f"fnorm_{number}"] for number in range(1, len(rho) + 1)]
        columns["fnorm_v"] = snapshot.params["v"].flatten(1).norm(dim=1).double()
        columns["norm_product"] = torch.stack(sizes).prod(0) * columns["fnorm_v"]
        # n / Σ_l (‖W^l‖_F/‖W^l‖_sp)⁻¹
        columns["harmonic_ratio"] = len(rho) / torch.stack(rho).sum(0)
        return {name: values.cpu() for name, values in columns.items()}

    return measure
