"""The smallest ℓ2 perturbation that flips a two-layer ReLU network, from many starts.

With c_j = y v_j and p_j = w_j·x + b_j the margin is a difference of convex functions of δ,

    y N(x + δ) = Σ_{c_j > 0} c_j relu(p_j + w_j·δ) − Σ_{c_j < 0} |c_j| relu(p_j + w_j·δ).

Replace relu(p) by s·p, s ∈ {0, 1}, in the second sum: the margin can only grow, as relu(p) ≥ s·p, and becomes
convex. So the nearest point at which this majorant is negative is a flip, it is the solution of a convex problem,
and for the right s it is the smallest flip there is. The search starts with the s of a point that a given direction
flips, solves, takes the s of the solution, and so on (convex-concave procedure, Yuille & Rangarajan 2003): the
radius never rises. It has no step size, sees the neurons beyond their kink that a gradient does not, and ends at a
local optimum, exactly. Which one depends on the start: a single one is never to be trusted (docs/paper1.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from src.attacks.attack import Attack
from src.attacks.halfspaces import GAP, REACH, add_constraint, nearest_point, no_constraints
from src.attacks.ray import RELATIVE_TOLERANCE, first_crossing, first_flip, slopes
from src.attacks.span import in_span
from src.types import Params

_SLOTS = 16  # most half-spaces that touch a solution of the fast solver
_CUTS = 60  # most half-spaces the fast solver tries for one solution
_TRUSTED_CUTS = 1000  # and the trusted one
_ROUNDING = 1e-13  # a sum of vectors this much shorter than its terms is rounding
_ROUNDS = 20  # most changes of s


def minimal_attack(params: Params, x: Tensor, y: Tensor, directions: Tensor, *, keep: int = 6) -> Attack:
    """The smallest perturbation found for every example, searched in float64.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.
        y: ±1, ``[M, P]``.
        directions: starts ``[M, P, S, r]`` of any length; M and P may be 1. Two are added: against the gradient of
            the margin, and against what the gradient would be if all neurons of the other sign were on.
        keep: the search runs from this many starts of each example, those along which it flips soonest.

    Returns:
        ``delta [M, P, r]``, zero for an example that is misclassified to begin with.
    """
    params = {name: leaf.double() for name, leaf in params.items()}
    x, y = x.double(), y.double()
    near, points, frame = in_span(params, x)
    pre = points @ near["w"].mT + near["b"][:, None]
    c = y[..., None] * near["v"][:, None]

    given = (directions.double().flatten(1, 2) @ frame).unflatten(1, directions.shape[1:3])
    gradients = [_weighted_sum(c * on, near["w"]) for on in (pre > 0, (pre > 0) | (c < 0))]
    starts = torch.cat([given.expand(*y.shape, -1, -1), -torch.stack(gradients, 2)], 2)
    norms = first_flip(near, points, y, starts) * torch.linalg.vector_norm(starts, dim=-1)
    soonest = norms.argsort(-1)[..., :keep]
    starts = starts.gather(2, soonest[..., None].expand(-1, -1, -1, starts.shape[-1]))

    # Every member on its own, all its starts at once: each start ends after its own number of steps.
    each = starts.shape[2]
    found = [
        _nearest_flip(w, c_m.repeat_interleave(each, 0), pre_m.repeat_interleave(each, 0), starts_m.flatten(0, 1))
        for w, c_m, pre_m, starts_m in zip(near["w"], c, pre, starts, strict=True)
    ]
    delta = torch.stack(found).view_as(starts)
    best = torch.linalg.vector_norm(delta, dim=-1).argmin(-1)
    delta = delta.gather(2, best[..., None, None].expand(-1, -1, 1, delta.shape[-1])).squeeze(2)
    return _verified(params, x, y, delta @ frame.mT)


def _verified(params: Params, x: Tensor, y: Tensor, delta: Tensor) -> Attack:
    """What ``delta [M, P, r]`` does, evaluated anew at x + δ; a δ that does not flip strictly has no radius."""
    usable = delta.isfinite().all(-1)
    delta = torch.where(usable[..., None], delta, 0.0)
    hidden = torch.relu((x + delta) @ params["w"].mT + params["b"][:, None])
    success = usable & (y * (hidden @ params["v"][..., None]).squeeze(-1) < 0)
    return Attack(delta, torch.where(success, torch.linalg.vector_norm(delta, dim=-1), torch.inf), success)


def _nearest_flip(w: Tensor, c: Tensor, pre: Tensor, start: Tensor) -> Tensor:
    """The local search of one member from ``start [B, s]``: δ ``[B, s]``, infinite where nothing was found."""
    slope = slopes(w, start)
    t = first_crossing(c, pre, slope)[:, None]
    best = torch.where(t.isfinite(), t * start, torch.inf)
    # A ray that never flips lends the search the s it has far out.
    s = torch.where(t.isfinite(), pre + t.nan_to_num(posinf=0.0) * slope > 0, slope > 0)
    rows = torch.arange(len(c), device=c.device)
    for _ in range(_ROUNDS):
        delta = _nearest_below(w, c[rows], pre[rows], s[rows])
        # The majorant touches the margin only where s is right: go on, or back, to where the margin itself is zero.
        delta = delta * first_crossing(c[rows], pre[rows], delta.nan_to_num(posinf=0.0) @ w.mT)[:, None]
        size, least = (torch.linalg.vector_norm(point, dim=-1) for point in (delta, best[rows]))
        closer = size < least * (1 - RELATIVE_TOLERANCE)
        rows, delta = rows[closer], delta[closer]
        best[rows] = delta
        now = pre[rows] + delta @ w.mT > 0
        changed = ((now != s[rows]) & (c[rows] < 0)).any(-1)
        s[rows] = now
        rows = rows[changed]
        if not len(rows):
            break
    return best


def _nearest_below(w: Tensor, c: Tensor, pre: Tensor, s: Tensor) -> Tensor:
    """argmin ‖δ‖ subject to Σ_{c>0} c relu(p + w·δ) + Σ_{c<0} c s (p + w·δ) ≤ −3τ/2, ``[B, s]``; infinite if empty.

    Solutions are good to −5τ/4, and a flip counts from −τ. In a thin cone the ray to the solution goes no deeper, so
    rounding would decide whether it is a flip if the search aimed at −τ as well.

    The convex left side is the largest of its tangents, so its level set is an intersection of half-spaces; those
    needed are found one at a time, as tangents at the nearest point of the intersection so far. Rows that the fast
    solver leaves without a proof are solved again by the trusted one.
    """
    tau = RELATIVE_TOLERANCE * (c * pre.relu()).sum(-1).abs()
    delta = torch.zeros(len(c), w.shape[1], dtype=w.dtype, device=w.device)
    active = no_constraints(delta, min(_SLOTS, w.shape[1] + 1))
    found, empty = torch.zeros(2, len(c), dtype=torch.bool, device=w.device)
    rows = torch.arange(len(c), device=c.device)
    for _ in range(_CUTS):
        normal, offset, _ = _tangent(w, c[rows], pre[rows], s[rows], delta[rows])
        outside = offset + (normal * delta[rows]).sum(-1) > -1.25 * tau[rows]
        offset += 1.5 * tau[rows]
        found[rows] = ~outside
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
    optimal = found & ~(active.bound < (1 - GAP) * torch.linalg.vector_norm(delta, dim=-1))
    for row in (~optimal & ~empty).nonzero().squeeze(-1).tolist():
        delta[row] = _trusted_nearest_below(w, *(leaf[row : row + 1] for leaf in (c, pre, s, tau)))
    return delta


def _trusted_nearest_below(w: Tensor, c: Tensor, pre: Tensor, s: Tensor, tau: Tensor) -> Tensor:
    """The same for one row, ``[1, ...]``: every nearest point anew from all tangents so far, by ``nearest_point``.

    A tangent that comes again is violated by rounding only.
    """
    delta = torch.zeros_like(w[:1])
    tangents: dict[tuple[bool, ...], tuple[Tensor, Tensor]] = {}
    for _ in range(_TRUSTED_CUTS):
        normal, offset, on = _tangent(w, c, pre, s, delta)
        pattern = tuple(on.squeeze(0).tolist())
        if pattern in tangents or offset + (normal * delta).sum(-1) <= -1.25 * tau:
            break
        tangents[pattern] = normal, offset + 1.5 * tau
        normals, offsets = (torch.cat(part).cpu().numpy() for part in zip(*tangents.values(), strict=True))
        nearest = nearest_point(normals, offsets)
        if nearest is None:
            return torch.full_like(delta, torch.inf)
        delta = torch.from_numpy(nearest).to(w)[None]
    return delta


def _tangent(w: Tensor, c: Tensor, pre: Tensor, s: Tensor, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """normal ``[B, s]`` and offset ``[B]`` of the majorant's tangent at ``delta [B, s]``, and the neurons on in it."""
    on = torch.where(c > 0, pre + delta @ w.mT > 0, s)
    tangent = c * on
    return _weighted_sum(tangent, w), (tangent * pre).sum(-1), on


def _weighted_sum(tangent: Tensor, w: Tensor) -> Tensor:
    """Σ_j t_j w_j ``[..., B, s]`` for ``[..., B, m]`` and ``[..., m, s]``, zero where the terms cancel to rounding."""
    total = tangent @ w
    terms = (tangent.abs() @ torch.linalg.vector_norm(w, dim=-1)[..., None]).squeeze(-1)
    cancelled = torch.linalg.vector_norm(total, dim=-1) <= _ROUNDING * terms
    return total.masked_fill(cancelled[..., None], 0.0)
