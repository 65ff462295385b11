"""Lion: the sign of an average of momentum and gradient, so the ℓ∞ geometry of SignGD (Chen et al., 2023)."""

from __future__ import annotations

from torch import Tensor

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.log_scaled import ema, zero_nonfinite, zeros
from src.optimizers.norms import linf
from src.optimizers.schedule import Rate, descend, first_step, power_law
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = False


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.07,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: NonNegative = 0.0,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build θ ← θ − η_t (sign(β1 m + (1−β1) g) + λθ), then m ← β2 m + (1−β2) g.

    Arguments that are not listed are those of ``steepest.build``.

    Args:
        beta1: weight of the momentum in the step.
        beta2: decay of the momentum.
        weight_decay: λ, decoupled; with λ > 0 the norm stays bounded, so margins need 0.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    norm = linf()

    def init(params: Params) -> State:
        return {"step": first_step(params, rate), "momentum": zeros(params)}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        grad = zero_nonfinite(grad)
        blend = ema(state["momentum"], grad, beta1)
        u = norm.steepest(blend["direction"])
        step = {name: u[name] + weight_decay * leaf for name, leaf in params.items()}
        momentum = ema(state["momentum"], grad, beta2)
        return descend(params, step, rate(state["step"])), {"step": state["step"] + 1, "momentum": momentum}

    return UpdateRule(init, update)
