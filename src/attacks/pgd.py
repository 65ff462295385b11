"""Projected gradient descent on the margin y N(x + δ) within an ℓ2 or ℓ∞ ball (Madry et al., 2018).

The attack is on the margin, as the gradient of a saturating loss vanishes on a confident network. The result is the
best δ over all iterates of all restarts, per example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

import torch
from torch import Tensor

from src.attacks.attack import Attack
from src.attacks.ball import ball_points
from src.randomness import uniform
from src.types import Params

Norm = Literal["l2", "linf"]


def pgd(
    apply: Callable[[Params, Tensor], Tensor],
    params: Params,
    x: Tensor,
    y: Tensor,
    eps: Tensor | float,
    *,
    steps: int,
    step: float,
    norm: Norm = "l2",
    seeds: Sequence[int] | None = None,
    restarts: int = 1,
    ambient: int | None = None,
    box: Sequence[float] | None = None,
) -> Attack:
    """Return the perturbation of norm ≤ eps with the smallest margin among all iterates.

    Args:
        apply: ``(params, [M, N, ...]) -> [M, N]``, any network.
        params: parameters of ``apply``.
        x: ``[M, P, ...]``.
        y: ±1, ``[M, P]``.
        eps: radius of the ball; may differ by member and example (broadcasts to ``[M, P]``).
        steps: gradient steps.
        step: length of a step in units of eps.
        norm: ``l2`` or ``linf``; steps are steepest in it, projections exact.
        seeds: one per member, for starts drawn uniformly from the ball; ``None`` starts from δ = 0.
        restarts: starts per example, all run at once.
        ambient: dimension d of the ℓ2 ball, if ``x`` has only the coordinates that the network depends on: starts and
            projections are those of R^d.
        box: interval of x + δ, which must contain x.

    Returns:
        An attack whose ``radius`` is the norm of ``delta``, without the part of δ outside of the coordinates of x.

    Raises:
        ValueError: for restarts without seeds, which would be identical, or ``ambient`` with another norm than ℓ2.
    """
    if restarts > 1 and seeds is None:
        raise ValueError(f"restarts={restarts} from zero would be identical; pass seeds for random starts")
    if ambient is not None and norm != "l2":
        raise ValueError(f"ambient={ambient} needs norm='l2': an {norm} ball is not invariant under rotations")
    members, points = y.shape
    eps = torch.as_tensor(eps, dtype=x.dtype, device=x.device).expand(members, points).repeat(1, restarts)
    x, y = x.repeat(1, restarts, *[1] * (x.ndim - 2)), y.repeat(1, restarts)

    delta, outside = torch.zeros_like(x), torch.zeros_like(eps)
    if seeds is not None:
        delta, outside = _random_start(seeds, x, eps, norm, ambient)
        delta = _clamp(delta, x, box)
    best, least = delta, torch.full_like(eps, inf)
    for count in range(steps + 1):
        margin, gradient = margin_and_gradient(apply, params, x + delta, y)
        lower = margin < least
        best, least = torch.where(_as(lower, delta), delta, best), torch.where(lower, margin, least)
        if count < steps:
            delta = delta - _as(step * eps, delta) * steepest(gradient, norm)
            delta, outside = project(delta, outside, eps, norm)
            delta = _clamp(delta, x, box)

    least, which = least.unflatten(1, (restarts, points)).min(1)
    best = best.unflatten(1, (restarts, points))
    delta = best.gather(1, _as(which[:, None], best).expand(-1, 1, *best.shape[2:])).squeeze(1)
    return Attack(delta, _length(delta, norm), least < 0)


def margin_and_gradient(
    apply: Callable[[Params, Tensor], Tensor], params: Params, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Return y N(x) ``[M, P]`` and its gradient in x ``[M, P, ...]``."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        margin = y * apply(params, x)
        # A margin depends on its own example only: the gradient of the sum has every example's own gradient.
        (gradient,) = torch.autograd.grad(margin.sum(), x)
    return margin.detach(), gradient


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the unit step of steepest ascent; zero where the gradient is zero."""
    if norm == "linf":
        return gradient.sign()
    length = _as(_length(gradient, norm), gradient)
    return torch.where(length > 0, gradient / length, 0.0)


def project(delta: Tensor, outside: Tensor, eps: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Project (delta, outside) on the ball."""
    if norm == "linf":
        return delta.clamp(-_as(eps, delta), _as(eps, delta)), outside
    length = (_length(delta, norm).square() + outside.square()).sqrt()
    shrink = torch.where(length > eps, eps / length, 1.0)
    return delta * _as(shrink, delta), outside * shrink


def _random_start(
    seeds: Sequence[int], x: Tensor, eps: Tensor, norm: Norm, ambient: int | None
) -> tuple[Tensor, Tensor]:
    """Draw δ uniformly in the ball, in the shape of x, and its length ``[M, N]`` outside of the coordinates of x."""
    count, shape = x.shape[1], x.shape[2:]
    if norm == "linf":
        start = torch.stack([2 * uniform(seed, "pgd start", (count, *shape)) - 1 for seed in seeds]).to(x)
        return _as(eps, x) * start, torch.zeros_like(eps)
    r = shape.numel()
    draws = [ball_points(seed, "pgd start", count, r, ambient or r) for seed in seeds]
    inside = torch.stack([inside for inside, _ in draws]).to(x).view_as(x)
    outside = torch.stack([outside for _, outside in draws]).to(x)
    return _as(eps, x) * inside, eps * outside


def _clamp(delta: Tensor, x: Tensor, box: Sequence[float] | None) -> Tensor:
    return delta if box is None else (x + delta).clamp(*box) - x


def _length(delta: Tensor, norm: Norm) -> Tensor:
    return torch.linalg.vector_norm(delta.flatten(2), ord=inf if norm == "linf" else 2, dim=-1)


def _as(value: Tensor, like: Tensor) -> Tensor:
    """Append axes of length 1 to ``value [M, N]`` to multiply ``like``."""
    return value.reshape(*value.shape, *[1] * (like.ndim - value.ndim))
