"""The rule that assigns the label of the nearest cluster mean, and its robust radius in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_cluster_radius(x: Tensor, y: Tensor, means: Tensor, labels: Tensor) -> Tensor:
    """Return the smallest ‖δ‖ ``[M, P]`` at which the nearest mean to x + δ has the other label; 0 if it has at x.

    Means are orthogonal and of one length. With c_q = ⟨x, μ_q⟩/‖μ_q‖ the rule flips where one coordinate of the other
    label reaches all of the own label. For a level t this costs (t − c_other)₊² + Σ_own (c_q − t)₊², convex in t; its
    minimum has the j largest own coordinates at t = (c_other + Σ_j c_q)/(1 + j).

    Args:
        x: ``[M, P, r]``.
        y: ±1, ``[M, P]``.
        means: ``[M, k, r]``.
        labels: ±1, ``[M, k]``.
    """
    c = x @ torch.nn.functional.normalize(means, dim=-1).mT
    own = labels[:, None] == y[..., None]
    other = c.masked_fill(own, -torch.inf).amax(-1)
    sorted_own = c.masked_fill(~own, -torch.inf).sort(-1, descending=True).values
    finite = sorted_own.isfinite()
    sums = sorted_own.where(finite, 0.0).cumsum(-1)
    # the level for each j, and the cost there; the smallest cost is the minimum of a convex function of t
    t = (other[..., None] + sums) / (1 + torch.arange(1, c.shape[-1] + 1, device=x.device))
    below = (sorted_own[..., None, :] - t[..., None]).clamp(min=0).square().sum(-1)
    cost = torch.where(finite, (t - other[..., None]).clamp(min=0).square() + below, torch.inf)
    return torch.where(other >= sorted_own[..., 0], 0.0, cost.amin(-1).sqrt())
