"""Norms and ranks of a tensor, computed from the slices of T̂ = M(T), ``[..., slices, D, d]``.

They are those of the block-diagonal matrix blkdiag(T̂(:,:,1..c)). With M orthogonal, its F-norm is that of T.
``multiplicity [slices]`` is that of the transform. Results are ``[...]``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def singular_values(hat: Tensor) -> Tensor:
    """Return ``[..., slices, min(D, d)]``, descending in a slice, NaN where a slice is not finite; differentiable."""
    finite, safe = _finite(hat)
    return torch.where(finite, torch.linalg.svdvals(safe), torch.nan)


def svd(hat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, σ and Vᴴ of every slice; σ is NaN where a slice is not finite, as LAPACK would raise for the batch."""
    finite, safe = _finite(hat)
    u, sigma, vh = torch.linalg.svd(safe, full_matrices=False)
    return u, torch.where(finite, sigma, torch.nan), vh


def _finite(hat: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mask ``[..., 1]`` of the finite slices, and the slices with 0 for the others."""
    finite = torch.isfinite(hat).all(-1).all(-1)[..., None]
    return finite, torch.where(finite[..., None], hat, 0)


def energies(hat: Tensor, multiplicity: Tensor) -> Tensor:
    """Return ``multiplicity``·‖T̂(:,:,i)‖_F² of every slice, ``[..., slices]``."""
    squares = hat.real.square() + hat.imag.square() if hat.is_complex() else hat.square()
    return multiplicity.to(squares) * squares.sum((-2, -1))


def frobenius(hat: Tensor, multiplicity: Tensor) -> Tensor:
    """Return ‖T̂‖_F."""
    return energies(hat, multiplicity).sum(-1).sqrt()


def spectral(sigma: Tensor) -> Tensor:
    """Return the t-spectral norm, the largest singular value of any slice."""
    return sigma.amax((-2, -1))


def tubal_nuclear(sigma: Tensor, multiplicity: Tensor) -> Tensor:
    """Return the tubal nuclear norm ‖T‖_* = Σᵢ ‖T̂(:,:,i)‖_*, without a factor 1/c. Its gradient is UᵢVᵢᵀ per slice."""
    return (multiplicity.to(sigma) * sigma.sum(-1)).sum(-1)


def tubal_rank(sigma: Tensor, tolerance: float = 1e-3) -> Tensor:
    """Return the tubal rank maxᵢ rank T̂(:,:,i); singular values up to ``tolerance``·‖T‖_sp and rounding count as 0."""
    tolerance = max(tolerance, 64 * sigma.shape[-1] * torch.finfo(sigma.dtype).eps)
    rank = (sigma > tolerance * spectral(sigma)[..., None, None]).sum(-1).amax(-1)
    return torch.where(spectral(sigma).isnan(), torch.nan, rank.to(sigma))


def stable_rank(sigma: Tensor, multiplicity: Tensor) -> Tensor:
    """Return the stable rank ‖T̂‖_F²/‖T‖_sp², between 1 and Σᵢ rank T̂(:,:,i)."""
    energy = multiplicity.to(sigma) * sigma.square().sum(-1)
    return energy.sum(-1) / spectral(sigma).square()


def slice_stable_rank(sigma: Tensor, multiplicity: Tensor) -> Tensor:
    """Return the mean over slices of ‖T̂(:,:,i)‖_F²/‖T̂(:,:,i)‖_sp², between 1 and min(D, d)."""
    weight = multiplicity.to(sigma)
    return (weight * sigma.square().sum(-1) / sigma[..., 0].square()).sum(-1) / weight.sum()


def top_slice_energy(sigma: Tensor, multiplicity: Tensor) -> Tensor:
    """Return the largest fraction of ‖T̂‖_F² in one slice, 1/c when all are equal."""
    energy = sigma.square().sum(-1)
    return energy.amax(-1) / (multiplicity.to(sigma) * energy).sum(-1)
