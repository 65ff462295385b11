"""Signum: steepest descent in ℓ∞ with momentum; without momentum, SignGD."""

from __future__ import annotations

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.norms import linf
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = False


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.07,
    momentum: Fraction = 0.9,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build θ ← θ − η_t sign(m), with sign(0) = 0; arguments as in ``steepest.build``."""
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return steepest_descent(linf(), rate, momentum=momentum)
