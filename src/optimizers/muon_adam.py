"""Muon on the hidden layers, Adam on the last: approximate steepest descent in max{r·msp(W), ‖u‖_∞}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from src.constraints import Fraction, NonNegative, Positive
from src.errors import ConfigError
from src.optimizers import polar
from src.optimizers.adam import adam
from src.optimizers.by_layer import split_last_layer
from src.optimizers.norms import msp
from src.optimizers.schedule import Rate, power_law, scaled, times
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether Muon updates the first layer; with one layer, Adam does."""
    return layers > 1


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.3,
    ratio: Positive = 1.0,
    equal_growth: bool = False,
    momentum: Fraction = 0.9,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: NonNegative = 0.0,
    polar_factor: Literal["exact", "svd", "gram"] = "exact",
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build Muon with η0 = ``lr`` for the hidden layers and Adam with r·η0 for the last, r the ``ratio``.

    With ``equal_growth``, η0^M = ``lr`` r^(−1/L): outputs are of degree 1 in the last layer and of degree L in all, so
    after as many steps they have grown like r (η0^M)^L, and are about as large for every r.

    ``momentum`` and ``polar_factor`` are Muon's; ``beta1``, ``beta2`` and ``epsilon`` are Adam's; ``exponent`` and
    ``t0`` are of the schedule that both share.
    """
    factor = 1.0
    if equal_growth:
        if model.degree is None:
            raise ConfigError("optimizer.equal_growth", True, "needs a homogeneous model, such as model=mlp")
        factor = ratio ** (-1 / model.degree)
    rate = power_law(scaled(lr, factor), exponent=exponent, t0=t0, degree=model.degree)
    return split_last_layer(
        steepest_descent(msp(polar.EXACT[polar_factor]), rate, momentum=momentum),
        adam(times(ratio, rate), beta1=beta1, beta2=beta2, epsilon=epsilon),
    )
