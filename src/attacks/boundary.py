"""The nearest point at which a differentiable network changes its sign, from many starts.

Each start is a ray; its first zero on a grid is refined by bisection. At a zero δ with gradient g of the margin, the
point of the tangent plane nearest to the origin is δ' = (g·δ/‖g‖²) g, and the next ray leads half of the way to it
(Hasofer and Lind, 1974). A zero is replaced by a nearer one only, so the radius never rises.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from src.attacks.attack import Attack

Margin = Callable[[Tensor], Tensor]
"""``δ [M, P, S, r] -> y N(x + δ) [M, P, S]`` for S perturbations of each of P points."""

_GRID, _BISECTIONS = 24, 30


def nearest_boundary(margin: Margin, directions: Tensor, reach: float, *, rounds: int = 12) -> Attack:
    """Return the smallest perturbation found for every point.

    Args:
        margin: y N(x + δ), positive at δ = 0 for points that are classified correctly.
        directions: starts ``[M, P, S, r]``, of any length.
        reach: longest perturbation tried.
        rounds: most changes of direction.

    Returns:
        An attack with a radius of infinity where no sign change was found, and 0 for a misclassified point.
    """
    best = _first_zero(margin, directions, reach)
    for _ in range(rounds):
        point = best.nan_to_num(posinf=0.0).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(margin(point).sum(), point)
        along = (gradient * best.nan_to_num(posinf=0.0)).sum(-1, keepdim=True)
        # Half of the way, as the boundary is curved.
        target = along / gradient.square().sum(-1, keepdim=True).clamp(min=1e-300) * gradient
        zero = _first_zero(margin, (best.nan_to_num(posinf=0.0) + target) / 2, reach)
        nearer = _length(zero) < _length(best)
        best = torch.where(nearer[..., None], zero, best)
    radius, start = _length(best).min(-1)
    delta = best.gather(2, start[..., None, None].expand(-1, -1, 1, best.shape[-1])).squeeze(2)
    return Attack(delta.nan_to_num(posinf=0.0), radius, radius.isfinite())


def _first_zero(margin: Margin, directions: Tensor, reach: float) -> Tensor:
    """Return t·u ``[M, P, S, r]`` with the smallest t ≤ reach on a grid, refined, with margin ≤ 0; infinite if none."""
    unit = directions / _length(directions).clamp(min=1e-300)[..., None]
    high = torch.full_like(unit[..., 0], torch.inf)
    for step in range(_GRID, -1, -1):
        t = reach * step / _GRID
        high = torch.where(margin(t * unit) <= 0, t, high)
    low = (high - reach / _GRID).clamp(min=0)
    for _ in range(_BISECTIONS):
        middle = (low + high.nan_to_num(posinf=reach)) / 2
        below = margin(middle[..., None] * unit) <= 0
        high, low = torch.where(below & high.isfinite(), middle, high), torch.where(below, low, middle)
    return torch.where(high.isfinite()[..., None], high.nan_to_num(posinf=0.0)[..., None] * unit, torch.inf)


def _length(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1)
