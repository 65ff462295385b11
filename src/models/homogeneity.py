"""The degree of homogeneity of a network, from Euler's identity ⟨∇_θ f(x; θ), θ⟩ = L·f(x; θ)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from src.randomness import normal
from src.types import Params

SIZES = (1.0, 4.0, 16.0)
"""Factors on the parameters, so that a clipped activation is not taken for a linear one."""

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3}
"""Largest deviation from the identity, relative to the largest output."""


def homogeneity(apply: Callable[[Params, Tensor], Tensor], params: Params, x: Tensor) -> tuple[float, str | None]:
    """Return L with f(a·θ) = a^L f(θ) for a > 0, and None or why there is none.

    The identity holds at all θ if and only if f is homogeneous (Euler). It is checked at Gaussian parameters of three
    sizes, as at an initialisation biases can be zero.

    Args:
        apply: ``(params, [N, ...]) -> [M, N]``.
        params: of one member, ``[1, ...]``; the Gaussian parameters have the root mean square of every leaf, or 1.
        x: inputs ``[N, ...]``.
    """
    sizes = torch.tensor(SIZES).to(x)
    leaves = {}
    for number, (name, leaf) in enumerate(params.items()):
        size = leaf.square().mean().sqrt()
        draw = normal(0, "euler", tuple(leaf.shape[1:]), number).to(x) * torch.where(size > 0, size, 1.0)
        leaves[name] = (sizes.reshape(-1, *[1] * draw.ndim) * draw).requires_grad_()
    with torch.enable_grad():
        f = apply(leaves, x)
        inner = torch.stack([_inner(f[:, i].sum(), leaves) for i in range(len(x))], 1)
    f = f.detach()
    scale = f.abs().amax(1, keepdim=True)
    if not bool(torch.isfinite(inner).all() & torch.isfinite(f).all()):
        return 0.0, "outputs or gradients at random parameters are not finite"
    if not bool((scale > 0).all()):
        return 0.0, "outputs at random parameters are zero"
    f, inner = f / scale, inner / scale
    # the L of least squares
    degree = float((inner * f).sum() / f.square().sum())
    deviation = float((inner - degree * f).abs().max())
    if deviation > TOLERANCE[x.dtype] * max(1.0, abs(degree)):
        return 0.0, f"⟨∇f, θ⟩ = L·f fails by {deviation:.2g} of the largest |f| for the best L = {degree:.3g}"
    if degree < 0.5:
        return 0.0, f"its degree is {degree:.3g}, so outputs do not grow with the parameters"
    return round(degree, 4), None


def _inner(total: Tensor, leaves: Params) -> Tensor:
    """Return ⟨∇f, θ⟩ ``[M]`` for the sum of f over members."""
    grads = torch.autograd.grad(total, tuple(leaves.values()), retain_graph=True, allow_unused=True)
    products = [(g * leaf).flatten(1).sum(1) for g, leaf in zip(grads, leaves.values(), strict=True) if g is not None]
    return torch.stack(products).sum(0).detach()
