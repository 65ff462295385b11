"""The point of an intersection of half-spaces {δ: offset + normal·δ ≤ 0} nearest to the origin.

A fast solver and a trusted one. The fast one treats many intersections at once by a dual active-set method (Goldfarb &
Idnani, 1983): half-spaces enter one by one, and the nearest point moves outwards, exactly, from one intersection to the
next. It squares the condition number of the normals, so between nearly parallel ones rounding can mislead it. Its
multipliers u bound the distance of every point from below (weak duality), which proves a solution optimal or an
intersection empty, whatever the rounding. What is not proved in this way is left to ``nearest_point``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

REACH = 1e6
"""Points farther out than the farthest single half-space, times this, are not told from none at all."""

GAP = 1e-7
"""Relative gap between a distance and its lower bound at which a solution counts as optimal."""

_PARALLEL = 1e-13  # squared sine of the angle between a normal and the span of the others
_ROUNDING = 1e-14  # of a sum, in units of the sum of its terms' sizes


class Constraints(NamedTuple):
    """The active sets of B intersections, with the nearest points δ = −Σ_i u_i g_i; empty slots are zero.

    ``normal`` ``[B, K, s]`` has unit rows g_i, ``offset`` ``[B, K]`` the distances h_i of the half-spaces' borders, and
    ``multiplier`` ``[B, K]`` holds u_i ≥ 0.
    """

    normal: Tensor
    offset: Tensor
    multiplier: Tensor

    def rows(self, rows: Tensor) -> Constraints:
        """The active sets of some of the intersections."""
        return Constraints(*(leaf[rows] for leaf in self))

    @property
    def nearest(self) -> Tensor:
        """δ ``[B, s]``."""
        return -(self.multiplier[:, None] @ self.normal).squeeze(1)

    @property
    def bound(self) -> Tensor:
        """Σ u_i h_i / ‖Σ u_i g_i‖ ``[B]``, less rounding: no point is nearer to the origin, for any u ≥ 0."""
        terms = self.multiplier * self.offset
        reached = terms.sum(-1) - _ROUNDING * terms.abs().sum(-1)
        return reached / (torch.linalg.vector_norm(self.nearest, dim=-1) + _ROUNDING * self.multiplier.sum(-1))


def no_constraints(like: Tensor, slots: int) -> Constraints:
    """The whole space, whose nearest point is the origin, for ``like [B, s]``."""
    size, dimension = like.shape
    return Constraints(like.new_zeros(size, slots, dimension), *like.new_zeros(2, size, slots))


def add_constraint(active: Constraints, normal: Tensor, offset: Tensor) -> tuple[Constraints, Tensor]:
    """Add the half-space {δ: offset + normal·δ ≤ 0}, which the nearest point must violate.

    Args:
        active: B intersections.
        normal: ``[B, s]``, of any length.
        offset: ``[B]``.

    Returns:
        the new active sets, and ``[B]`` whether a nearest point was found. Where none was, a ``bound`` beyond all
        reach proves the intersection empty (Farkas' lemma); otherwise rounding or too few slots prevented a solution.
    """
    length = torch.linalg.vector_norm(normal, dim=-1)
    g, h = normal / length[:, None], offset / length
    normals, offsets, multipliers = (leaf.clone() for leaf in active)
    entering = torch.zeros_like(h)  # multiplier of the new constraint
    found = torch.zeros_like(h, dtype=torch.bool)
    rows = (length > 0).nonzero().squeeze(-1)
    for _ in range(multipliers.shape[1] + 1):  # every pass but the last removes a constraint
        if not len(rows):
            break
        G, u, new = normals[rows], multipliers[rows], g[rows]
        empty = (u == 0) & (G == 0).all(-1)
        # r: how the old multipliers give way to the new one; z: the new normal, less its part in the span of the old.
        along = G @ new[..., None]
        r = torch.linalg.solve_ex(G @ G.mT + torch.diag_embed(empty.to(G)), along)[0].squeeze(-1)
        z = new - (r[:, None] @ G).squeeze(1)
        free = z.square().sum(-1)
        delta = -(u[:, None] @ G).squeeze(1) - entering[rows, None] * new
        violation = h[rows] + (new * delta).sum(-1)
        # The step to the new border, or the shorter one at which an old constraint leaves the active set.
        full = torch.where(free > _PARALLEL, violation / free, torch.inf)
        part, leaving = torch.where((r > 0) & ~empty, u / r, torch.inf).min(-1)
        t = full.minimum(part)
        apart = t == torch.inf  # the new normal is −Σ|r_i| g_i: the multipliers (|r|, 1) prove that no point is left
        enters = (full <= part) & empty.any(-1)
        slot = torch.where(full <= part, empty.to(torch.int8).argmax(-1), leaving)

        u = torch.where(apart[:, None], -r, u - t[:, None] * r).clamp(min=0)
        entering[rows] = torch.where(apart, 1.0, entering[rows] + t)
        every = torch.arange(len(rows), device=rows.device)
        u[every, slot] = torch.where(enters, entering[rows], 0.0)
        G[every, slot] = torch.where(enters[:, None], new, 0.0)
        offsets[rows, slot] = torch.where(enters, h[rows], 0.0)
        multipliers[rows], normals[rows] = u, G
        found[rows] = enters & ~apart
        rows = rows[full > part]
    return Constraints(normals, offsets, multipliers), found


def nearest_point(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray | None:
    """The nearest point of one intersection, to machine precision, or None where none is within reach.

    Least distance programming (Lawson & Hanson, 1974, chapter 23): with unit normals G and distances h in units of a
    length c, the non-negative least squares [−Gᵀ; h] u ≈ (0, 1) leave the residual 1 − h·u = 1/(1 + ‖δ‖²/c²). Rounding
    cannot decide whether that is zero if c is like ‖δ‖: so c grows until this number is large, or c is out of reach.

    Args:
        normals: ``[n, s]``, of any length; a zero one leaves no point.
        offsets: ``[n]``, one of which at least is positive.
    """
    length = np.linalg.norm(normals, axis=1)
    if not (length.all() and np.isfinite(normals).all() and np.isfinite(offsets).all()):
        return None
    g, h = normals / length[:, None], offsets / length
    farthest = c = h.max()
    target = np.append(np.zeros(g.shape[1]), 1.0)
    while c <= REACH * farthest:
        system = np.vstack([-g.T, h / c])
        size = np.linalg.norm(system, axis=0)
        u, _ = nnls(system / size, target, maxiter=100 * len(h))
        residual = target - system @ (u / size)
        if residual[-1] > 1e-3:
            return residual[:-1] / residual[-1] * -c
        c *= 10
    return None
