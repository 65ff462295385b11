"""Muon on the hidden layers, Signum on the last: steepest descent in max{r·msp(W), ‖u‖_∞}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers import polar
from src.optimizers.by_layer import split_last_layer
from src.optimizers.norms import linf, msp
from src.optimizers.schedule import Rate, power_law, times
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether Muon updates the first layer; with one layer, Signum does."""
    return layers > 1


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.3,
    ratio: Positive = 1.0,
    momentum: Fraction = 0.9,
    polar_factor: Literal["exact", "svd", "gram"] = "exact",
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build Muon with η0 and Signum with r η0: a step has length r η_t in the hybrid norm of ``ratio`` r.

    Arguments that are not listed are those of ``muon.build``.

    Args:
        lr: η0 of Muon.
        ratio: r.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return split_last_layer(
        steepest_descent(msp(polar.EXACT[polar_factor]), rate, momentum=momentum),
        steepest_descent(linf(), times(ratio, rate), momentum=momentum),
    )
