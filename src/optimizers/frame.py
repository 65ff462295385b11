"""Arithmetic of gradients that carry their scale apart: direction · e^{log_scale}.

As the loss falls from 1 to 1e-2000, momenta are sums of gradients of very different size. Every sum here is taken
in the frame of its largest term, so nothing overflows and what underflows is negligible in that sum. A history is
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
    """m ← β m + (1−β) g."""
    if beta == 0:
        return {"direction": grad.direction, "log_scale": grad.log_scale}
    old, new, log_scale = _weights(history["log_scale"], grad.log_scale, _log(beta), _log(1 - beta))
    direction = {
        name: (per_member(old, m) * m).addcmul_(per_member(new, m), grad.direction[name])
        for name, m in history["direction"].items()
    }
    return {"direction": direction, "log_scale": log_scale}


def root_mean_square(history: History, grad: ScaledGrad, beta: float) -> History:
    """√v ← √(β v + (1−β) g²), without ever squaring: entries of any size keep their digits."""
    old, new, log_scale = _weights(history["log_scale"], grad.log_scale, _log(beta) / 2, _log(1 - beta) / 2)
    direction = {
        name: torch.hypot(per_member(old, root) * root, per_member(new, root) * grad.direction[name])
        for name, root in history["direction"].items()
    }
    return {"direction": direction, "log_scale": log_scale}


def _weights(old: Tensor, new: Tensor, log_keep: float, log_take: float) -> tuple[Tensor, Tensor, Tensor]:
    """Factors ≤ 1 of both terms in the frame of the larger one, and the log-scale of that frame."""
    old, new = old + log_keep, new + log_take
    frame = torch.maximum(old, new)
    origin = frame.clamp(min=torch.finfo(frame.dtype).min)  # −∞ − (−∞) is not a number
    return (old - origin).exp(), (new - origin).exp(), frame


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
