"""Stochastic gradient descent; options for t-NNs: a proximal step, and a projection of the layers on balls."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Count, NonNegative, Positive
from src.errors import ConfigError
from src.optimizers.log_scaled import per_member
from src.optimizers.schedule import Rate, descend, first_step, power_law
from src.tensors.network import TensorNetwork, layer_norm
from src.tensors.products import thresholded
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = True


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.02,
    tubal_nuclear: NonNegative = 0.0,
    proximal_every: Count = 10,
    ball: Positive | None = None,
) -> UpdateRule:
    """Build θ ← θ − η ∇L(θ) with the gradient of the batch; after k steps the gradient-flow time is kη.

    Args:
        task: not used.
        model: a ``TensorNetwork`` for the options below.
        lr: η, one for all seeds or one for each.
        tubal_nuclear: λ of the penalty λ Σ_l ‖M(W^l)‖_*. Every k-th step ends with its proximal step
            W ← argmin ½‖· − W‖_F² + kηλ‖M(·)‖_*, which makes the tubal rank of the layers exactly low.
        proximal_every: k.
        ball: B; after every step each t-layer is projected on ‖W^l‖_F ≤ B, its factors scaled equally.

    Raises:
        ConfigError: for a proximal step of factored layers or under a transform that is not orthogonal, or a ball
            without t-layers.
    """
    network = model if isinstance(model, TensorNetwork) else None
    if tubal_nuclear > 0 and not (network and network.mapped and network.transform.orthogonal):
        allowed = "needs unfactored t-layers and an orthogonal transform: model=tnn model.rank=null"
        raise ConfigError("optimizer.tubal_nuclear", tubal_nuclear, allowed)
    if ball is not None and not (network and network.transform.orthogonal):
        raise ConfigError("optimizer.ball", ball, "needs t-layers and an orthogonal transform: model=tnn")
    rate = power_law(lr, exponent=0.0, t0=1.0, degree=None)

    def init(params: Params) -> State:
        return {"step": first_step(params, rate)}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        eta, step = rate(state["step"]), state["step"] + 1
        # ∇L = e^{log_scale}·direction
        params = descend(params, grad.direction, eta * grad.log_scale.exp())
        due = step % proximal_every == 0  # [M]: the step counter of a member that has ended is fixed
        if network and network.mapped and tubal_nuclear > 0 and bool(due.any()):
            # With M = s·O and Ŵ = O(W): ‖M(W)‖_* = s·‖Ŵ‖_*.
            threshold = (proximal_every * tubal_nuclear * network.scale * eta).unsqueeze(-1)
            shrunk = network.mapped(params, lambda hat: thresholded(hat, threshold))
            params = {name: leaf.where(per_member(due, leaf) > 0, params[name]) for name, leaf in shrunk.items()}
        if network and ball is not None:
            params = network.scaled(params, within(ball, layer_norms(network, params)))
        return params, {"step": step}

    return UpdateRule(init, update)


def layer_norms(network: TensorNetwork, params: Params) -> Params:
    """Return ‖W^l‖_F ``[M]`` of every t-layer."""
    return {name: layer_norm(network, hat) for name, hat in network.layers(network.hat(params)).items()}


def within(ball: float, norms: Mapping[str, Tensor]) -> Params:
    """Return factors min(1, ball/norm)."""
    return {name: torch.where(norm > ball, ball / norm, 1.0) for name, norm in norms.items()}
