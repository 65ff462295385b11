"""Arithmetic of gradients that carry their scale apart: direction · e^{log_scale}.

As the loss falls from 1 to 1e-2000, momenta are sums of gradients of very different size. Every sum here is taken
in the frame of its largest term or of its total, so nothing overflows and what underflows is negligible. A history is
kept as the plain dict ``{"direction": Params, "log_scale": [M]}``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from src.types import Params, ScaledGrad

History = dict[str, Any]


def per_member(value: Tensor, like: Tensor) -> Tensor:
    """``value`` ``[M]`` shaped and typed to multiply ``like`` ``[M, ...]``."""
    return value.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def finite(grad: ScaledGrad) -> ScaledGrad:
    """The same gradient; one that is not finite becomes zero, so that a member that diverged stays where it is."""
    total = grad.log_scale + sum(leaf.flatten(1).sum(1) for leaf in grad.direction.values())
    good = torch.isfinite(total)
    if bool(good.all()):
        return grad
    direction = {name: leaf.where(per_member(good, leaf) > 0, 0) for name, leaf in grad.direction.items()}
    return ScaledGrad(direction, grad.log_scale.where(good, -torch.inf))


def no_history(params: Params) -> History:
    """Zero, at the scale e^{−∞}."""
    first = next(iter(params.values()))
    log_scale = torch.full((len(first),), -torch.inf, dtype=first.dtype, device=first.device)
    return {"direction": {name: torch.zeros_like(leaf) for name, leaf in params.items()}, "log_scale": log_scale}


def average(history: History, grad: ScaledGrad, beta: float) -> History:
    """m ← β m + (1−β) g, in the frame in which both factors sum to one."""
    if beta == 0:
        return {"direction": grad.direction, "log_scale": grad.log_scale}
    old, new = history["log_scale"] + math.log(beta), grad.log_scale + math.log(1 - beta)
    frame = torch.logaddexp(old, new)
    weight = _relative(new, frame)
    direction = {
        name: torch.lerp(m, grad.direction[name], per_member(weight, m)) for name, m in history["direction"].items()
    }
    return {"direction": direction, "log_scale": frame}


def root_mean_square(history: History, grad: ScaledGrad, beta: float) -> History:
    """√v ← √(β v + (1−β) g²), without ever squaring: entries of any size keep their digits."""
    old, new = history["log_scale"] + _log(beta) / 2, grad.log_scale + _log(1 - beta) / 2
    frame = torch.maximum(old, new)
    keep, take = _relative(old, frame), _relative(new, frame)
    direction = {
        name: (per_member(keep, root) * root).hypot_(per_member(take, root) * grad.direction[name])
        for name, root in history["direction"].items()
    }
    return {"direction": direction, "log_scale": frame}


def _relative(log_scale: Tensor, frame: Tensor) -> Tensor:
    """e^{log_scale} in units of the frame, at most 1; zero in the frame e^{−∞}."""
    return (log_scale - frame.clamp(min=torch.finfo(frame.dtype).min)).exp()  # −∞ − (−∞) is not a number


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
