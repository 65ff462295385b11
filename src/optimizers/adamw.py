"""AdamW: Adam with decoupled weight decay η_t λ; it converges within an ℓ∞ ball, not in direction."""

from __future__ import annotations

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.adam import adam
from src.optimizers.schedule import Rate, power_law
from src.types import Model, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = False


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.07,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: NonNegative = 0.0,
    weight_decay: NonNegative = 0.01,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build θ ← θ − η_t (m̂/(√v̂ + ε) + λθ), decoupled decay (Loshchilov and Hutter, 2019).

    ``weight_decay`` is λ; the other arguments are those of ``adam.build``.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return adam(rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)
