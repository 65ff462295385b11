"""Arithmetic of log-scaled gradients, direction · e^{log_scale}.

As the loss falls from 1 to 1e-2000, momenta are sums of gradients of very different size. Every sum here is computed
in units of its largest term or of its total, so that nothing overflows and only negligible terms underflow. An
average is the plain dict ``{"direction": Params, "log_scale": [M]}``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from src.types import Params, ScaledGrad

Average = dict[str, Any]


def per_member(value: Tensor, like: Tensor) -> Tensor:
    """Return ``value [M]`` in the dtype of ``like [M, ...]``, with axes of length 1 appended to multiply it."""
    return value.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def zero_nonfinite(grad: ScaledGrad) -> ScaledGrad:
    """Replace the gradient of a member by zero if it is not finite, so that a diverged member does not move."""
    total = grad.log_scale + sum(leaf.flatten(1).sum(1) for leaf in grad.direction.values())
    finite = torch.isfinite(total)
    if bool(finite.all()):
        return grad
    direction = {name: leaf.where(per_member(finite, leaf) > 0, 0) for name, leaf in grad.direction.items()}
    return ScaledGrad(direction, grad.log_scale.where(finite, -torch.inf))


def zeros(params: Params) -> Average:
    """Return the average of no gradients: zero, with log-scale −∞."""
    first = next(iter(params.values()))
    log_scale = torch.full((len(first),), -torch.inf, dtype=first.dtype, device=first.device)
    return {"direction": {name: torch.zeros_like(leaf) for name, leaf in params.items()}, "log_scale": log_scale}


def ema(average: Average, grad: ScaledGrad, beta: float) -> Average:
    """Return the exponential moving average m ← β m + (1−β) g, at the log-scale at which both weights sum to one."""
    if beta == 0:
        return {"direction": grad.direction, "log_scale": grad.log_scale}
    old, new = average["log_scale"] + math.log(beta), grad.log_scale + math.log(1 - beta)
    log_scale = torch.logaddexp(old, new)
    weight = _relative(new, log_scale)
    direction = {
        name: torch.lerp(m, grad.direction[name], per_member(weight, m)) for name, m in average["direction"].items()
    }
    return {"direction": direction, "log_scale": log_scale}


def rms_ema(average: Average, grad: ScaledGrad, beta: float) -> Average:
    """Return √v ← √(β v + (1−β) g²) by hypot, without squares, so that no entry underflows."""
    old, new = average["log_scale"] + _log(beta) / 2, grad.log_scale + _log(1 - beta) / 2
    log_scale = torch.maximum(old, new)
    old_weight, new_weight = _relative(old, log_scale), _relative(new, log_scale)
    direction = {
        name: (per_member(old_weight, root) * root).hypot_(per_member(new_weight, root) * grad.direction[name])
        for name, root in average["direction"].items()
    }
    return {"direction": direction, "log_scale": log_scale}


def _relative(log_scale: Tensor, log_unit: Tensor) -> Tensor:
    """Return e^{log_scale − log_unit}, at most 1; zero if both are −∞."""
    return (log_scale - log_unit.clamp(min=torch.finfo(log_unit.dtype).min)).exp()  # −∞ − (−∞) is NaN


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
