"""The point of an intersection of half-spaces {δ: offset + normal·δ ≤ 0} nearest to the origin.

There is a fast and a robust solver. The fast one solves many intersections at once by a dual active-set method
(Goldfarb & Idnani, 1983): constraints are added one by one, each with an exact update of the nearest point. It squares
the condition number of the normals, so nearly parallel ones cause rounding errors. Its multipliers u bound the distance
of every point from below (weak duality), which proves a solution optimal or an intersection empty in spite of rounding.
Intersections without such a proof are solved by ``nearest_point``, and in ℓ∞ by ``nearest_point_linf``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linprog, nnls
from torch import Tensor

REACH = 1e6
"""An intersection counts as empty if its nearest point is farther than this times the farthest half-space."""

GAP = 1e-7
"""Relative gap between a distance and its lower bound at which a solution counts as optimal."""

_PARALLEL = 1e-13  # squared sine of the angle between a normal and the span of the others
_ROUNDING = 1e-14  # rounding error of a sum, in units of the sum of the absolute values of its terms


class Constraints(NamedTuple):
    """The active sets of B intersections, with the nearest points δ = −Σ_i u_i g_i; empty slots are zero.

    ``normal [B, K, s]`` has unit rows g_i, ``offset [B, K]`` the distances h_i of the boundaries from the origin, and
    ``multiplier [B, K]`` the u_i ≥ 0.
    """

    normal: Tensor
    offset: Tensor
    multiplier: Tensor

    def rows(self, rows: Tensor) -> Constraints:
        """Return the active sets of the intersections with indices ``rows``."""
        return Constraints(*(leaf[rows] for leaf in self))

    @property
    def nearest(self) -> Tensor:
        """δ ``[B, s]``."""
        return -(self.multiplier[:, None] @ self.normal).squeeze(1)

    @property
    def bound(self) -> Tensor:
        """Σ u_i h_i / ‖Σ u_i g_i‖ ``[B]`` minus rounding: no point is nearer to the origin, for any u ≥ 0."""
        terms = self.multiplier * self.offset
        total = terms.sum(-1) - _ROUNDING * terms.abs().sum(-1)
        return total / (torch.linalg.vector_norm(self.nearest, dim=-1) + _ROUNDING * self.multiplier.sum(-1))


def no_constraints(like: Tensor, slots: int) -> Constraints:
    """Return empty active sets with K = ``slots`` for ``like [B, s]``; their nearest point is the origin."""
    size, dimension = like.shape
    return Constraints(like.new_zeros(size, slots, dimension), *like.new_zeros(2, size, slots))


def add_constraint(active: Constraints, normal: Tensor, offset: Tensor) -> tuple[Constraints, Tensor]:
    """Add the half-space {δ: offset + normal·δ ≤ 0}, which the nearest point must violate.

    Args:
        active: B intersections.
        normal: ``[B, s]``, of any length.
        offset: ``[B]``.

    Returns:
        The new active sets, and ``[B]`` whether a nearest point was found. Where none was, a ``bound`` above ``REACH``
        proves the intersection empty (Farkas' lemma); otherwise rounding or too few slots prevented a solution.
    """
    length = torch.linalg.vector_norm(normal, dim=-1)
    g, h = normal / length[:, None], offset / length
    normals, offsets, multipliers = (leaf.clone() for leaf in active)
    entering = torch.zeros_like(h)  # multiplier of the new constraint
    solved = torch.zeros_like(h, dtype=torch.bool)
    rows = (length > 0).nonzero().squeeze(-1)
    for _ in range(multipliers.shape[1] + 1):  # every pass except the last removes a constraint
        if not len(rows):
            break
        G, u, new = normals[rows], multipliers[rows], g[rows]
        empty = (u == 0) & (G == 0).all(-1)
        # r: decrease of the old multipliers per increase of the new one; z: the new normal, projected on the orthogonal
        # complement of the old ones.
        along = G @ new[..., None]
        r = torch.linalg.solve_ex(G @ G.mT + torch.diag_embed(empty.to(G)), along)[0].squeeze(-1)
        z = new - (r[:, None] @ G).squeeze(1)
        squared_sine = z.square().sum(-1)
        delta = -(u[:, None] @ G).squeeze(1) - entering[rows, None] * new
        violation = h[rows] + (new * delta).sum(-1)
        # The step to the new boundary, or the shorter one at which an old constraint leaves the active set.
        full = torch.where(squared_sine > _PARALLEL, violation / squared_sine, torch.inf)
        part, leaving = torch.where((r > 0) & ~empty, u / r, torch.inf).min(-1)
        t = full.minimum(part)
        infeasible = t == torch.inf  # the new normal is −Σ|r_i| g_i: the multipliers (|r|, 1) prove emptiness
        enters = (full <= part) & empty.any(-1)
        slot = torch.where(full <= part, empty.to(torch.int8).argmax(-1), leaving)

        u = torch.where(infeasible[:, None], -r, u - t[:, None] * r).clamp(min=0)
        entering[rows] = torch.where(infeasible, 1.0, entering[rows] + t)
        row = torch.arange(len(rows), device=rows.device)
        u[row, slot] = torch.where(enters, entering[rows], 0.0)
        G[row, slot] = torch.where(enters[:, None], new, 0.0)
        offsets[rows, slot] = torch.where(enters, h[rows], 0.0)
        multipliers[rows], normals[rows] = u, G
        solved[rows] = enters & ~infeasible
        rows = rows[full > part]
    return Constraints(normals, offsets, multipliers), solved


def nearest_point(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray | None:
    """Return the nearest point of one intersection to machine precision, or None if there is none within ``REACH``.

    Least distance programming (Lawson & Hanson, 1974, chapter 23): with unit normals G and distances h in units of a
    length c, the non-negative least squares [−Gᵀ; h] u ≈ (0, 1) have the residual 1 − h·u = 1/(1 + ‖δ‖²/c²). For c
    much smaller than ‖δ‖ it is not distinguishable from zero, so c is raised until it is large or c exceeds the reach.

    Args:
        normals: ``[n, s]``, of any length; with a zero one the result is None.
        offsets: ``[n]``, at least one of them positive.
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


def nearest_point_linf(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray | None:
    """Return a point of one intersection with the least ℓ∞ norm, or None if there is none within ``REACH``.

    Arguments as in :func:`nearest_point`. A single half-space has the closed form δ = −h·sign(g)/‖g‖₁; several are a
    linear program in (δ, t): minimise t subject to |δ_i| ≤ t.
    """
    length = np.abs(normals).sum(1)
    if not (length.all() and np.isfinite(normals).all() and np.isfinite(offsets).all()):
        return None
    g, h = normals / length[:, None], offsets / length
    unit = h.max()
    if len(g) == 1:
        return -unit * np.sign(g[0])
    # With δ = unit·(a − b), a + b ≤ t and a, b ≥ 0, only the half-spaces are dense rows of the program.
    dimension = g.shape[1]
    box = sparse.hstack([sparse.eye(dimension), sparse.eye(dimension), -np.ones((dimension, 1))])
    system = sparse.vstack([np.hstack([g, -g, np.zeros((len(g), 1))]), box], format="csr")
    bounds = np.concatenate([-h / unit, np.zeros(dimension)])
    cost = np.append(np.zeros(2 * dimension), 1.0)
    tolerances = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    solution = linprog(cost, system, bounds, bounds=(0, None), method="highs", options=tolerances)
    if solution.x is None or solution.x[-1] > REACH:
        return None
    return unit * (solution.x[:dimension] - solution.x[dimension:-1])
