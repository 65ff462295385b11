"""SignGD: steepest descent in ℓ∞."""

from __future__ import annotations

from src.constraints import NonNegative, Positive
from src.optimizers.norms import linf
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = False


def build(task: Task, model: Model, *, lr: Rate = 0.07, exponent: NonNegative = 0.8, t0: Positive = 1.0) -> UpdateRule:
    """Build θ ← θ − η_t sign(g), with sign(0) = 0; arguments as in ``steepest.build``."""
    return steepest_descent(linf(), power_law(lr, exponent=exponent, t0=t0, degree=model.degree), momentum=0.0)
