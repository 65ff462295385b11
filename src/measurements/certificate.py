"""A certified radius within which no perturbation flips a two-layer ReLU network, for any width and weights.

On the ball of radius e around x neuron j is on, off, or, if e exceeds the distance e_j = |w_j·x + b_j| / ‖w_j‖ to its
kink, free. A gradient of N in the ball is Σ_j s_j v_j w_j with s_j = 1, 0 or any number in [0, 1] respectively, so
with A_ij = v_i v_j ⟨w_i, w_j⟩ its norm is at most L(e),

    L(e)² = Σ_{i,j on} A_ij + Σ_{i,j on or free, not both on} max(A_ij, 0).

From x to x + δ the margin falls by at most ∫₀^‖δ‖ L(e) de. The certified radius is the one at which that integral
equals the margin (closed form, docs/paper1.md). L is a step function with one step per neuron, so it is exact.

In ℓ∞ the kinks are at |w_j·x + b_j| / ‖w_j‖₁, and L bounds the ℓ1 norm of the gradients, coordinate by coordinate,

    L(e) = Σ_i max( Σ_{j on} a_ji + Σ_{j free} max(a_ji, 0), −Σ_{j on} a_ji − Σ_{j free} min(a_ji, 0) ), a_j = v_j w_j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.two_layer_relu import largest_output
from src.types import Params

_ROUNDING = 1e-12  # relative reduction of a radius, so that rounding cannot raise it above the true one
_SUM = 1e-14  # rounding error of an output, in units of its upper bound


def certified_radius(params: Params, x: Tensor, y: Tensor) -> Tensor:
    """Return radii ``[M, P]`` with y N(x + δ) ≥ 0 for all ‖δ‖ up to them, in float64; 0 for misclassified examples.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.
        y: ±1, ``[M, P]``.
    """
    params, x = {name: leaf.double() for name, leaf in params.items()}, x.double()
    w, b, v = params["w"], params["b"], params["v"]
    pre = x @ w.mT + b[:, None]
    margin = y * (pre.relu() @ v[..., None]).squeeze(-1) - _SUM * largest_output(params, x)
    gram = (v[..., None] * w) @ (v[..., None] * w).mT
    kink = torch.where(pre == 0, 0.0, pre.abs() / torch.linalg.vector_norm(w, dim=-1)[:, None])
    on = (pre > 0).to(pre)
    squared = ((on @ gram) * on).sum(-1)
    unsure = _ROUNDING * gram.diagonal(dim1=-2, dim2=-1).sqrt().sum(-1).square()
    member = torch.arange(len(x), device=x.device)[:, None].expand_as(y)
    examples = (member, margin, squared + unsure[:, None], on, kink)
    radius = _reach(gram, *(item.flatten(0, 1) for item in examples))
    return radius.view_as(margin) * (1 - _ROUNDING)


def certified_radius_linf(params: Params, x: Tensor, y: Tensor) -> Tensor:
    """Return ℓ∞ radii ``[M, P]`` with y N(x + δ) ≥ 0 for all ‖δ‖_∞ up to them; arguments as above."""
    params, x = {name: leaf.double() for name, leaf in params.items()}, x.double()
    w, b, v = params["w"], params["b"], params["v"]
    pre = x @ w.mT + b[:, None]
    margin = y * (pre.relu() @ v[..., None]).squeeze(-1) - _SUM * largest_output(params, x)
    kink = torch.where(pre == 0, 0.0, pre.abs() / w.abs().sum(-1)[:, None])
    kink, order = kink.sort(-1)
    kink = torch.nn.functional.pad(kink, (0, 1), value=torch.inf)
    a = v[..., None] * w
    unsure = _ROUNDING * a.abs().sum((-2, -1))[:, None]
    # The largest and smallest entry of a gradient in the ball, for each coordinate.
    high = low = (pre > 0).to(pre) @ a
    here, radius, reached = torch.zeros_like(margin), torch.zeros_like(margin), margin <= 0
    for i in range(kink.shape[-1]):
        L = torch.maximum(high, -low).sum(-1) + unsure
        ends = ~reached & (here + margin / L <= kink[..., i])
        radius = torch.where(ends, here + margin / L, radius)
        reached = reached | ends
        if reached.all():
            break
        margin, here = margin - L * (kink[..., i] - here), kink[..., i]
        j = order[..., i, None]
        freed = a.gather(1, j.expand(-1, -1, a.shape[-1]))
        was_on = pre.gather(-1, j) > 0
        high = high + torch.where(was_on, -freed, 0.0) + freed.relu()
        low = low + torch.where(was_on, -freed, 0.0) - (-freed).relu()
    return radius * (1 - _ROUNDING)


def _reach(gram: Tensor, member: Tensor, margin: Tensor, squared: Tensor, on: Tensor, kink: Tensor) -> Tensor:
    """Return e with ∫₀^e L = margin for B examples; ``squared`` is L(0)², ``on`` and the distances ``kink`` ``[B, m]``.

    Neurons become free in the order of their kinks; each changes only its own terms of L².
    """
    kink, order = kink.sort(-1)
    kink = torch.nn.functional.pad(kink, (0, 1), value=torch.inf)
    radius, here = torch.zeros_like(margin), torch.zeros_like(margin)
    on_or_free = on.clone()
    rows = (margin > 0).nonzero().squeeze(-1)
    for i in range(kink.shape[1]):
        L = squared[rows].sqrt()
        reach = here[rows] + margin[rows] / L
        radius[rows] = reach
        goes_on = reach > kink[rows, i]
        rows, L = rows[goes_on], L[goes_on]
        if not len(rows):
            break
        margin[rows] -= L * (kink[rows, i] - here[rows])
        here[rows] = kink[rows, i]
        j = order[rows, i]
        row = gram[member[rows], j]
        was_on = on[rows, j] > 0
        # on → free: A_ij is replaced by max(A_ij, 0) for the j that are on; off → free: max(A_ij, 0) is added.
        less = 2 * ((-row).relu() * on[rows]).sum(-1)
        more = 2 * (row.relu() * on_or_free[rows]).sum(-1) + row.gather(1, j[:, None]).squeeze(1)
        squared[rows] += torch.where(was_on, less, more)
        on[rows, j], on_or_free[rows, j] = 0.0, 1.0
    return radius
