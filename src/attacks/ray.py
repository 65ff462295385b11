"""The first sign change of a two-layer ReLU network along a ray, exact, without steps or bisection.

y N(x + t u) = Σ_j y v_j relu(p_j + a_j t) with p_j = w_j·x + b_j and a_j = w_j·u is piecewise linear in t with one
breakpoint per neuron, so its first zero is found by sorting.
"""

from __future__ import annotations

import torch
from torch import Tensor

from src.types import Params

RELATIVE_TOLERANCE = 1e-9
"""y N < 0 is tested as y N ≤ −1e-9·y N(x), and y N ≤ 0 as y N ≤ +1e-9·y N(x), so that rounding decides neither."""

_ROUNDING = 1e-15  # rounding error of a sum, in units of the sum of the absolute values of its terms
_ELEMENTS = 2**22  # most pre-activations in memory at a time


def first_flip(params: Params, x: Tensor, y: Tensor, direction: Tensor, *, strict: bool = True) -> Tensor:
    """Return the smallest t ≥ 0 at which x + t·direction is flipped, infinite if there is none.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.
        y: ±1, ``[M, P]``.
        direction: ``[M, P, S, r]``, S directions for each example; M and P may be 1.
        strict: flipped means y N < 0, else y N ≤ 0. The two differ where a network is exactly 0 on an interval.

    Returns:
        ``[M, P, S]`` in units of ‖direction‖, zero for an example that is misclassified at x.
    """
    w, b, v = params["w"], params["b"], params["v"]
    members, width = b.shape
    size = max(1, _ELEMENTS // (members * width * direction.shape[2]))
    parts = []
    for chunk in torch.arange(y.shape[1], device=y.device).split(size):
        pre = x[:, chunk] @ w.mT + b[:, None]
        u = direction if direction.shape[1] == 1 else direction[:, chunk]
        slope = slopes(w, u.flatten(1, 2)).unflatten(1, u.shape[1:3])
        outer = y[:, chunk, None] * v[:, None]
        parts.append(first_crossing(outer[:, :, None], pre[:, :, None], slope, strict=strict))
    return torch.cat(parts, 1)


def slopes(w: Tensor, direction: Tensor) -> Tensor:
    """Return w_j·u ``[..., S, m]`` for ``w [..., m, r]`` and u ``[..., S, r]``, zero where it is rounding."""
    product = direction @ w.mT
    size = torch.linalg.vector_norm(direction, dim=-1)[..., None] * torch.linalg.vector_norm(w, dim=-1)[..., None, :]
    return torch.where(product.abs() > _ROUNDING * size, product, 0.0)


def first_crossing(outer: Tensor, pre: Tensor, slope: Tensor, *, strict: bool = True) -> Tensor:
    """Return the smallest t ≥ 0 with Σ_j outer_j relu(pre_j + slope_j t) < 0 (or ≤ 0); neurons are the last axis."""
    outer, pre, slope = torch.broadcast_tensors(outer, pre, slope)
    margin = (outer * pre.relu()).sum(-1)
    level = (-RELATIVE_TOLERANCE if strict else RELATIVE_TOLERANCE) * margin.abs()

    # Neuron j switches at t_j = −p_j/a_j > 0: on if a_j > 0, off if a_j < 0.
    switches = pre.sign() * slope < 0
    time, order = torch.where(switches, -pre / slope, torch.inf).sort(-1)
    on = (pre > 0) | ((pre == 0) & (slope > 0))
    switch = torch.where(switches, slope.sign(), 0.0)
    # On segment i the margin is A_i + B_i t, where A and B add up the neurons that are on.
    intercept = _running((outer * pre * on).sum(-1), (outer * pre * switch).gather(-1, order))
    incline = _running((outer * slope * on).sum(-1), (outer * slope * switch).gather(-1, order))

    left = torch.cat([torch.zeros_like(time[..., :1]), time], -1)
    right = torch.cat([time, torch.full_like(time[..., :1], torch.inf)], -1)
    root = torch.where(incline < 0, (level[..., None] - intercept) / incline, torch.inf)
    root = torch.where((root <= right) & left.isfinite(), root.maximum(left), torch.inf)
    first = torch.where(margin <= level, 0.0, root.amin(-1))

    # Where slopes cancel, B may be non-zero by rounding: test the margin itself at the root, beyond rounding.
    moved = pre + first.nan_to_num(posinf=0.0)[..., None] * slope
    at_root, rounding = (outer * moved.relu()).sum(-1), _ROUNDING * (outer * moved).abs().sum(-1)
    flipped = (at_root < -rounding) | (margin < 0) if strict else at_root <= 2 * level.abs() + rounding
    return torch.where(flipped, first, torch.inf)


def _running(start: Tensor, changes: Tensor) -> Tensor:
    """Return start, start + changes_1, start + changes_1 + changes_2, …"""
    return torch.cat([start[..., None], changes], -1).cumsum(-1)
