"""The smallest ℓ2 or ℓ∞ perturbation that flips a two-layer ReLU network, from many starts.

With c_j = y v_j and p_j = w_j·x + b_j the margin is a difference of convex functions of δ,

    y N(x + δ) = Σ_{c_j > 0} c_j relu(p_j + w_j·δ) − Σ_{c_j < 0} |c_j| relu(p_j + w_j·δ).

Replace relu(p) by s·p, s ∈ {0, 1}, in the second sum: the margin can only grow, as relu(p) ≥ s·p, and becomes
convex. So the nearest point at which this majorant is negative is a flip and the solution of a convex problem; for the
right s it is the smallest flip. The search starts with the s of a flip along a given direction, solves, takes the s of
the solution, and repeats (convex-concave procedure, Yuille & Rangarajan 2003): the radius never rises. It has no step
size, accounts for neurons that are off and have no gradient, and ends exactly at a local optimum. The optimum depends
on the start, so several starts are needed (docs/paper1.md).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import torch
from torch import Tensor

from src.attacks.attack import Attack
from src.attacks.halfspaces import (
    GAP,
    REACH,
    add_constraint,
    nearest_point,
    nearest_point_linf,
    no_constraints,
)
from src.attacks.pgd import Norm
from src.attacks.ray import RELATIVE_TOLERANCE, first_crossing, first_flip, slopes
from src.attacks.span import in_span
from src.types import Params

_SLOTS = 16  # size of an active set in the fast solver
_CUTS = 60  # most half-spaces per solution of the fast solver
_ROBUST_CUTS = 1000  # the same of the robust solver
_ROUNDING = 1e-13  # a sum of vectors shorter than this times the lengths of its terms counts as zero
_ROUNDS = 20  # most changes of s


def minimal_attack(
    params: Params, x: Tensor, y: Tensor, directions: Tensor, *, keep: int = 6, norm: Norm = "l2"
) -> Attack:
    """Return the smallest perturbation found for every example, computed in float64.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.
        y: ±1, ``[M, P]``.
        directions: starts ``[M, P, S, r]`` of any length; M and P may be 1. Two are added: minus the gradient of the
            margin, and minus the gradient with all neurons of the other sign on.
        keep: number of starts used for each example, those with the nearest flips.
        norm: of the perturbation; the added starts are steepest in it.

    Returns:
        An attack with ``delta [M, P, r]``, zero for an example that is misclassified at x.
    """
    params = {name: leaf.double() for name, leaf in params.items()}
    x, y = x.double(), y.double()
    # The smallest attack lies in the span of the weights in ℓ2 only.
    reduced, points, basis = in_span(params, x) if norm == "l2" else (params, x, None)
    pre = points @ reduced["w"].mT + reduced["b"][:, None]
    c = y[..., None] * reduced["v"][:, None]

    given = directions.double()
    if basis is not None:
        given = (given.flatten(1, 2) @ basis).unflatten(1, given.shape[1:3])
    gradients = [_weighted_sum(c * on, reduced["w"]) for on in (pre > 0, (pre > 0) | (c < 0))]
    added = -torch.stack(gradients, 2)
    starts = torch.cat([given.expand(*y.shape, -1, -1), added.sign() if norm == "linf" else added], 2)
    norms = first_flip(reduced, points, y, starts) * _length(starts, norm)
    nearest = norms.argsort(-1)[..., :keep]
    starts = starts.gather(2, nearest[..., None].expand(-1, -1, -1, starts.shape[-1]))

    # One member at a time with all its starts, as the number of rounds differs by start.
    count = starts.shape[2]
    flips = [
        _nearest_flip(
            w, c_m.repeat_interleave(count, 0), pre_m.repeat_interleave(count, 0), starts_m.flatten(0, 1), norm
        )
        for w, c_m, pre_m, starts_m in zip(reduced["w"], c, pre, starts, strict=True)
    ]
    delta = torch.stack(flips).view_as(starts)
    best = _length(delta, norm).argmin(-1)
    delta = delta.gather(2, best[..., None, None].expand(-1, -1, 1, delta.shape[-1])).squeeze(2)
    return _verified(params, x, y, delta if basis is None else delta @ basis.mT, norm)


def _length(delta: Tensor, norm: Norm) -> Tensor:
    return torch.linalg.vector_norm(delta, ord=inf if norm == "linf" else 2, dim=-1)


def _verified(params: Params, x: Tensor, y: Tensor, delta: Tensor, norm: Norm) -> Attack:
    """Evaluate the margin at x + δ for ``delta [M, P, r]``; without a strict flip the radius is infinite."""
    usable = delta.isfinite().all(-1)
    delta = torch.where(usable[..., None], delta, 0.0)
    hidden = torch.relu((x + delta) @ params["w"].mT + params["b"][:, None])
    success = usable & (y * (hidden @ params["v"][..., None]).squeeze(-1) < 0)
    return Attack(delta, torch.where(success, _length(delta, norm), torch.inf), success)


def _nearest_flip(w: Tensor, c: Tensor, pre: Tensor, start: Tensor, norm: Norm) -> Tensor:
    """Return δ ``[B, s]`` of the local search of one member from ``start [B, s]``, infinite where no flip is found."""
    slope = slopes(w, start)
    t = first_crossing(c, pre, slope)[:, None]
    best = torch.where(t.isfinite(), t * start, torch.inf)
    # A ray without a flip starts from the s at its far end.
    s = torch.where(t.isfinite(), pre + t.nan_to_num(posinf=0.0) * slope > 0, slope > 0)
    rows = torch.arange(len(c), device=c.device)
    for _ in range(_ROUNDS):
        delta = _nearest_below(w, c[rows], pre[rows], s[rows], norm)
        # Where s is wrong the majorant exceeds the margin: rescale δ to the zero of the margin itself.
        delta = delta * first_crossing(c[rows], pre[rows], delta.nan_to_num(posinf=0.0) @ w.mT)[:, None]
        size, least = _length(delta, norm), _length(best[rows], norm)
        closer = size < least * (1 - RELATIVE_TOLERANCE)
        rows, delta = rows[closer], delta[closer]
        best[rows] = delta
        new_s = pre[rows] + delta @ w.mT > 0
        changed = ((new_s != s[rows]) & (c[rows] < 0)).any(-1)
        s[rows] = new_s
        rows = rows[changed]
        if not len(rows):
            break
    return best


def _nearest_below(w: Tensor, c: Tensor, pre: Tensor, s: Tensor, norm: Norm) -> Tensor:
    """Return argmin ‖δ‖ ``[B, s]`` with Σ_{c>0} c relu(p + w·δ) + Σ_{c<0} c s (p + w·δ) ≤ −3τ/2, infinite if none.

    The left side of a solution is at most −5τ/4; a flip needs −τ. In a thin cone the ray to the solution reaches no
    lower value, so with the bound −τ rounding would decide whether it is a flip.

    The convex left side is the maximum of its tangents, so its level set is an intersection of half-spaces. They are
    added one at a time, each the tangent at the nearest point of the previous intersection. Rows without a proof from
    the fast solver are solved again by the robust one, and those of ℓ∞ by it alone.
    """
    tau = RELATIVE_TOLERANCE * (c * pre.relu()).sum(-1).abs()
    if norm == "linf":
        problems = zip(*(leaf.split(1) for leaf in (c, pre, s, tau)), strict=True)
        return torch.cat([_robust_nearest_below(nearest_point_linf, w, *problem) for problem in problems])
    delta = torch.zeros(len(c), w.shape[1], dtype=w.dtype, device=w.device)
    active = no_constraints(delta, min(_SLOTS, w.shape[1] + 1))
    solved, empty = torch.zeros(2, len(c), dtype=torch.bool, device=w.device)
    rows = torch.arange(len(c), device=c.device)
    for _ in range(_CUTS):
        normal, offset, _ = _tangent(w, c[rows], pre[rows], s[rows], delta[rows])
        outside = offset + (normal * delta[rows]).sum(-1) > -1.25 * tau[rows]
        offset += 1.5 * tau[rows]
        solved[rows] = ~outside
        rows, normal, offset = rows[outside], normal[outside], offset[outside]
        if not len(rows):
            break
        length = torch.linalg.vector_norm(normal, dim=-1)
        farthest = torch.maximum(torch.linalg.vector_norm(delta[rows], dim=-1), offset / length)
        nearer, possible = add_constraint(active.rows(rows), normal, offset)
        for whole, part in zip(active, nearer, strict=True):
            whole[rows] = part
        delta[rows] = torch.where(possible[:, None], nearer.nearest, torch.inf)
        empty[rows] = ~possible & ((length == 0) | (nearer.bound > REACH * farthest))
        rows = rows[possible]
    optimal = solved & ~(active.bound < (1 - GAP) * torch.linalg.vector_norm(delta, dim=-1))
    for row in (~optimal & ~empty).nonzero().squeeze(-1).tolist():
        problem = (leaf[row : row + 1] for leaf in (c, pre, s, tau))
        delta[row] = _robust_nearest_below(nearest_point, w, *problem)
    return delta


def _robust_nearest_below(
    nearest_of: Callable[..., np.ndarray | None], w: Tensor, c: Tensor, pre: Tensor, s: Tensor, tau: Tensor
) -> Tensor:
    """Solve one row ``[1, ...]``: ``nearest_of`` all tangents so far, until no new tangent is violated.

    A tangent that repeats is violated by rounding only.
    """
    delta = torch.zeros_like(w[:1])
    tangents: dict[tuple[bool, ...], tuple[Tensor, Tensor]] = {}
    for _ in range(_ROBUST_CUTS):
        normal, offset, on = _tangent(w, c, pre, s, delta)
        pattern = tuple(on.squeeze(0).tolist())
        if pattern in tangents or offset + (normal * delta).sum(-1) <= -1.25 * tau:
            break
        tangents[pattern] = normal, offset + 1.5 * tau
        normals, offsets = (torch.cat(part).cpu().numpy() for part in zip(*tangents.values(), strict=True))
        nearest = nearest_of(normals, offsets)
        if nearest is None:
            return torch.full_like(delta, torch.inf)
        delta = torch.from_numpy(nearest).to(w)[None]
    return delta


def _tangent(w: Tensor, c: Tensor, pre: Tensor, s: Tensor, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return normal ``[B, s]`` and offset ``[B]`` of the majorant's tangent at ``delta``, and its active neurons."""
    on = torch.where(c > 0, pre + delta @ w.mT > 0, s)
    tangent = c * on
    return _weighted_sum(tangent, w), (tangent * pre).sum(-1), on


def _weighted_sum(tangent: Tensor, w: Tensor) -> Tensor:
    """Return Σ_j t_j w_j ``[..., B, s]`` for ``[..., B, m]`` and ``[..., m, s]``, zero where it is rounding."""
    total = tangent @ w
    terms = (tangent.abs() @ torch.linalg.vector_norm(w, dim=-1)[..., None]).squeeze(-1)
    cancelled = torch.linalg.vector_norm(total, dim=-1) <= _ROUNDING * terms
    return total.masked_fill(cancelled[..., None], 0.0)
