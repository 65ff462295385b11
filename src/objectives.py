"""The risks, as their logarithm: log L and ∇ log L never underflow, where L and ∇L are exactly zero long before.

An objective maps ``(params, batch)`` to ``(log_risk [M], ScaledGrad)`` with ∇L = e^{log L}·∇ log L. The risk is the
mean over the batch. q_i = y_i N(x_i; θ) is the margin of example i, ``[M, N]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from src.types import Batch, Model, Objective, Params, ScaledGrad, Task

_EXACT_TAIL = 30.0  # log(softplus(−q)) = −q to 1e-13 relative for q beyond this


def log_exponential_loss(q: Tensor) -> Tensor:
    """log e^{−q} = −q."""
    return -q


def log_logistic_loss(q: Tensor) -> Tensor:
    """log log(1 + e^{−q}), finite for every q: beyond q = 30 it is −q to the last digit of float64."""
    return torch.where(q > _EXACT_TAIL, -q, softplus(-q.clamp(max=_EXACT_TAIL)).log())


def exponential(task: Task, model: Model) -> Objective:
    """L = (1/N) Σ e^{−q_i}; −∇ log L = Σ p_i y_i ∇N(x_i) with p = softmax(−q)."""
    return _mean_risk(model, log_exponential_loss)


def logistic(task: Task, model: Model) -> Objective:
    """L = (1/N) Σ log(1 + e^{−q_i})."""
    return _mean_risk(model, log_logistic_loss)


def _mean_risk(model: Model, log_loss: Callable[[Tensor], Tensor]) -> Objective:
    def objective(params: Params, batch: Batch) -> tuple[Tensor, ScaledGrad]:
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
        with torch.enable_grad():
            q = batch.y * model.apply(leaves, batch.x)
            log_risk = log_loss(q).logsumexp(-1) - math.log(q.shape[-1])
            # The members share no parameter: the gradient of the sum is every member's own gradient.
            grads = torch.autograd.grad(log_risk.sum(), tuple(leaves.values()))
        log_risk = log_risk.detach()
        return log_risk, ScaledGrad(dict(zip(leaves, grads, strict=True)), log_scale=log_risk)

    return objective
