"""Gradient descent with a fixed learning rate: the baseline, whose loss falls like 1/t only."""

from __future__ import annotations

from torch import Tensor

from src.optimizers.schedule import Rate, descend, first_step, power_law
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = True


def build(task: Task, model: Model, *, lr: Rate = 0.1) -> UpdateRule:
    """Build θ ← θ − η ∇L(θ) with ∇L = e^{log_scale}·direction; η is ``lr``, one number or one for each seed."""
    rate = power_law(lr, exponent=0.0, t0=1.0, degree=None)

    def init(params: Params) -> State:
        return {"step": first_step(params, rate)}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        eta = rate(state["step"]) * grad.log_scale.exp()
        return descend(params, grad.direction, eta), {"step": state["step"] + 1}

    return UpdateRule(init, update)
