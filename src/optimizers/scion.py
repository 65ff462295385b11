"""Scion-style descent: a norm, and a radius, for the hidden layers and for the last (Pethick et al., 2025)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.norms import entrywise, over_layers, rows, schatten, weighted
from src.optimizers.rotations import INVARIANT
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule

LayerNorm = Literal["spectral", "linf", "rows", "l2"]


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether the norm of the first layer is invariant."""
    return optimizer.get("hidden" if layers > 1 else "last") in INVARIANT


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.3,
    hidden: LayerNorm = "spectral",
    last: LayerNorm = "linf",
    hidden_radius: Positive = 1.0,
    last_radius: Positive = 1.0,
    momentum: Fraction = 0.9,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build steepest descent in max_k ‖W_k‖_(k) / ρ_k; the unconstrained variant, without decay.

    With the defaults it is Muon-Signum at r = 1. Arguments that are not listed are those of ``steepest.build``.

    Args:
        lr: η0; a step changes layer k by η_t ρ_k in its norm.
        hidden: norm of all layers except the last.
        last: norm of the last layer.
        hidden_radius: ρ of the hidden layers.
        last_radius: ρ of the last layer.
    """
    norm = {"spectral": schatten(math.inf), "linf": entrywise(math.inf), "rows": rows(), "l2": entrywise(2)}
    product = over_layers(math.inf, weighted(norm[hidden], 1 / hidden_radius), weighted(norm[last], 1 / last_radius))
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return steepest_descent(product, rate, momentum=momentum)
