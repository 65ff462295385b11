"""Normalised momentum descent (NMD): steepest descent in ℓ2 with momentum; without momentum, NGD."""

from __future__ import annotations

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.norms import l2
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = True


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 2.0,
    momentum: Fraction = 0.9,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build θ ← θ − η_t m/‖m‖₂; arguments as in ``steepest.build``."""
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return steepest_descent(l2(), rate, momentum=momentum)
