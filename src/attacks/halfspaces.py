"""The point of an intersection of half-spaces nearest to the origin, for many intersections at once.

Dual active-set method (Goldfarb & Idnani, 1983) for min ‖δ‖²: half-spaces enter one by one, and the nearest point
moves outwards, exactly, from one intersection to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_PARALLEL = 1e-13  # squared sine of the angle between a normal and the span of the others


class Walls(NamedTuple):
    """The half-spaces that touch the nearest point δ = −Σ_i u_i g_i of B intersections; empty slots are zero.

    ``normal`` ``[B, K, s]`` has unit rows g_i, ``force`` ``[B, K]`` holds the multipliers u_i ≥ 0.
    """

    normal: Tensor
    force: Tensor

    @property
    def nearest(self) -> Tensor:
        """δ ``[B, s]``."""
        return -(self.force[:, None] @ self.normal).squeeze(1)


def no_walls(like: Tensor, slots: int) -> Walls:
    """The whole space, whose nearest point is the origin, for ``like [B, s]``."""
    size, dimension = like.shape
    return Walls(like.new_zeros(size, slots, dimension), like.new_zeros(size, slots))


def add_wall(walls: Walls, normal: Tensor, offset: Tensor) -> tuple[Walls, Tensor]:
    """Add the half-space {δ: offset + normal·δ ≤ 0}, which the nearest point must violate.

    Args:
        walls: B intersections.
        normal: ``[B, s]``, of any length.
        offset: ``[B]``.

    Returns:
        the new walls, and ``[B]`` whether there is still a point in them (and a slot to note it): where there is
        not, the walls are useless.
    """
    length = torch.linalg.vector_norm(normal, dim=-1)
    g, h = normal / length[:, None], offset / length
    kept, force = walls.normal.clone(), walls.force.clone()
    own = torch.zeros_like(h)  # multiplier of the new wall
    sound = length > 0
    rows = sound.nonzero().squeeze(-1)
    while len(rows):
        G, u, new = kept[rows], force[rows], g[rows]
        empty = (u == 0) & (G == 0).all(-1)
        # r: how the old multipliers give way to the new one; z: the new normal, less its part in the span of the old.
        along = G @ new[..., None]
        r = torch.linalg.solve_ex(G @ G.mT + torch.diag_embed(empty.to(G)), along)[0].squeeze(-1)
        z = new - (r[:, None] @ G).squeeze(1)
        free = z.square().sum(-1)
        delta = -(u[:, None] @ G).squeeze(1) - own[rows, None] * new
        violation = h[rows] + (new * delta).sum(-1)
        # The step to the new wall, or the shorter one at which an old wall lets go.
        full = torch.where(free > _PARALLEL, violation / free, torch.inf)
        part, loose = torch.where((r > 0) & ~empty, u / r, torch.inf).min(-1)
        t = full.minimum(part)
        arrives = full <= part
        slot = torch.where(arrives, empty.to(torch.int8).argmax(-1), loose)
        possible = t.isfinite() & (~arrives | empty.any(-1))

        u = (u - t[:, None] * r).clamp(min=0)
        own[rows] += t
        u[torch.arange(len(rows)), slot] = torch.where(arrives, own[rows], 0.0)
        G[torch.arange(len(rows)), slot] = torch.where(arrives[:, None], new, 0.0)
        force[rows], kept[rows] = u, G
        sound[rows] &= possible
        rows = rows[possible & ~arrives]
    return Walls(kept, force), sound
