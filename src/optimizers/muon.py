"""Muon with an exact polar factor: steepest descent in msp = max_k ‖W_k‖_sp; without momentum, spectral descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers import polar
from src.optimizers.norms import Norm, over_layers, schatten, weighted
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule

Scaling = Literal["none", "original", "match_rms"]


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether steps do not depend on the number of columns."""
    return optimizer.get("scaling") == "none"


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.6,
    momentum: Fraction = 0.9,
    nesterov: bool = False,
    scaling: Scaling = "none",
    polar_factor: Literal["exact", "svd", "gram"] = "exact",
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build W_k ← W_k − η_t s_k U Vᵀ with m_k = U Σ Vᵀ the momentum of layer k.

    Arguments that are not listed are those of ``steepest.build``.

    Args:
        nesterov: use U Vᵀ of β m + (1−β) g.
        scaling: s_k, see ``spectral``; the theorem has "none".
        polar_factor: "svd", exact to rounding in float64; "gram", faster; or "exact": svd in float64, gram in float32.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return steepest_descent(spectral(polar.EXACT[polar_factor], scaling), rate, momentum=momentum, nesterov=nesterov)


def spectral(polar_factor: Callable[[Tensor], Tensor], scaling: Scaling) -> Norm:
    """Return the norm max_k ‖W_k‖_sp / s_k, so that the step of layer k (rows × columns) is s_k U Vᵀ.

    ``original``: s = √max(1, rows/columns) (Jordan et al., 2024); ``match_rms``: s = 0.2 √max(rows, columns) (Liu et
    al., 2025), the default and the alternative of ``torch.optim.Muon``.
    """
    scales = {
        "none": lambda rows, columns: 1.0,
        "original": lambda rows, columns: max(1.0, rows / columns) ** 0.5,
        "match_rms": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
    }

    def weight(layer: Tensor) -> float:
        rows = layer.shape[1] if layer.ndim > 2 else 1
        return 1 / scales[scaling](rows, layer.shape[-1])

    return over_layers(math.inf, weighted(schatten(math.inf, polar_factor), weight))
