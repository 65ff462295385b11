"""The algebra of the t-product (Kilmer & Martin, 2011) under any transform M; tensors are ``[..., c, D, d]``.

Operations act slice by slice in the transform domain, T̂ = M(T), and are followed by M⁻¹.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from src.tensors.spectra import svd
from src.tensors.transforms import Transform


def t_product(a: Tensor, b: Tensor, m: Transform) -> Tensor:
    """Return A *_M B ``[..., c, D, k]`` of A ``[..., c, D, d]`` and B ``[..., c, d, k]``."""
    # A *_M B = M⁻¹(Â(:,:,i) B̂(:,:,i))
    return m.inverse(m.forward(a) @ m.forward(b))


def t_transpose(a: Tensor, m: Transform) -> Tensor:
    """Return Aᵀ ``[..., c, d, D]``: every slice of Â (conjugate) transposed, so that (A *_M B)ᵀ = Bᵀ *_M Aᵀ."""
    return m.inverse(m.forward(a).mH)


def t_identity(size: int, m: Transform, like: Tensor) -> Tensor:
    """Return I ``[c, size, size]`` with every slice of Î the identity matrix, in dtype and device of ``like``."""
    eye = torch.eye(size, dtype=like.dtype, device=like.device).repeat(len(m.multiplicity), 1, 1)
    return m.inverse(eye if m.real else torch.complex(eye, torch.zeros_like(eye)))


class TSVD(NamedTuple):
    """A = U *_M S *_M Vᵀ with UᵀU = VᵀV = I and every slice of Ŝ diagonal; the columns are min(D, d)."""

    u: Tensor
    s: Tensor
    v: Tensor


def t_svd(a: Tensor, m: Transform) -> TSVD:
    """Return the t-SVD of A ``[..., c, D, d]``: one SVD for each slice of Â."""
    u, s, vh = svd(m.forward(a))
    return TSVD(m.inverse(u), m.inverse(torch.diag_embed(s).to(u)), m.inverse(vh.mH))


def t_truncate(a: Tensor, rank: int, m: Transform) -> Tensor:
    """Return the nearest tensor of tubal rank ≤ ``rank`` in F-norm, for M orthogonal up to scale."""
    return m.inverse(truncated(m.forward(a), rank))


def truncated(hat: Tensor, rank: int) -> Tensor:
    """Truncate every slice of T̂ ``[..., slices, D, d]`` to its ``rank`` largest singular values."""
    u, s, vh = svd(hat)
    return (u[..., :rank] * s[..., None, :rank]) @ vh[..., :rank, :]


def thresholded(hat: Tensor, threshold: float | Tensor) -> Tensor:
    """Lower the singular values of every slice by ``threshold`` (broadcasts to ``[..., slices]``), at most to 0.

    With an orthogonal M this is the proximal step argmin_W ½‖W − Z‖_F² + threshold·‖W‖_* of the tubal nuclear norm.
    """
    u, s, vh = svd(hat)
    threshold = torch.as_tensor(threshold, dtype=s.dtype, device=s.device)
    return (u * (s - threshold.unsqueeze(-1)).clamp(min=0).unsqueeze(-2)) @ vh


def largest_kept(hat: Tensor, count: int) -> Tensor:
    """Truncate T̂ ``[..., slices, D, d]`` to exactly the ``count`` largest singular values of all slices together."""
    u, s, vh = svd(hat)
    flat = s.flatten(-2)
    largest, index = flat.topk(min(count, flat.shape[-1]))
    kept = torch.zeros_like(flat).scatter(-1, index, largest).view_as(s)
    return (u * kept.unsqueeze(-2)) @ vh
