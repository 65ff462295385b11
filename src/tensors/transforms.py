"""Invertible linear transforms M along the tubes of a tensor: M = s·O.

A D×d×c tensor is stored as ``[..., c, D, d]``: its i-th frontal slice T(:,:,i) is ``T[..., i, :, :]``, so that M(T)
combines matrices and the transform domain is a batch of matrices. O is orthogonal except for ``authors``, the matrix of
the released code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from src.randomness import normal

Name = Literal["dct", "dct3", "dft", "identity", "haar", "random", "authors"]
NAMES = get_args(Name)


class Transform(NamedTuple):
    """``forward`` is M, ``[..., c, D, d] -> [..., slices, D, d]``, and ``inverse`` is M⁻¹.

    ``multiplicity [slices]`` is how often a slice occurs in the block-diagonal matrix of M(T): once, except for the
    DFT, which stores one of every two conjugate slices. ``scale`` is s; ``orthogonal`` is whether M/s is orthogonal or
    unitary, so that ‖M(T)‖ = s·‖T‖; ``real`` is whether M(T) is real.
    """

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    multiplicity: Tensor
    scale: float
    orthogonal: bool
    real: bool


def transform(name: Name, c: int, *, scale: float = 1.0, seed: int = 0) -> Transform:
    """Return M = ``scale``·O for tubes of length c; ``seed`` is that of the ``random`` O.

    Tensors keep their dtype and device. With ``dft`` and scale √c the t-product is the original one of circulant
    matrices (Kilmer & Martin, 2011).
    """
    if name == "dft":
        return _dft(c, scale)
    if name == "identity" and scale == 1:
        return Transform(_same, _same, torch.ones(c, dtype=torch.float64), scale, orthogonal=True, real=True)
    orthonormal = matrix(name, c, seed)
    inverse = torch.linalg.inv(orthonormal) if name == "authors" else orthonormal.mT
    return Transform(
        forward=_along_tubes(scale * orthonormal),
        inverse=_along_tubes(inverse / scale),
        multiplicity=torch.ones(c, dtype=torch.float64),
        scale=scale,
        orthogonal=name != "authors",
        real=True,
    )


def _same(tensor: Tensor) -> Tensor:
    return tensor


def matrix(name: Name, c: int, seed: int = 0) -> Tensor:
    """Return the matrix O ``[c, c]`` of a real transform, float64: M(T)ₖ = Σᵢ Oₖᵢ Tᵢ."""
    match name:
        case "identity":
            return torch.eye(c, dtype=torch.float64)
        case "dct":
            return _dct(c)
        case "dct3":
            return _dct(c).mT
        case "haar":
            return _haar(c)
        case "random":
            q, r = torch.linalg.qr(normal(seed, "transform", (c, c)))
            return q * r.diagonal().sign()  # with these signs the law is uniform (Haar)
        case "authors":
            return _released(c)
    raise ValueError(f"no real transform {name!r}")


def _dct(c: int) -> Tensor:
    """Return the DCT-II: Oₖᵢ = √(2/c)·cos(π(i + ½)k/c), the row k = 0 divided by √2."""
    k, i = torch.meshgrid(*[torch.arange(c, dtype=torch.float64)] * 2, indexing="ij")
    rows = math.sqrt(2 / c) * torch.cos(math.pi * (i + 0.5) * k / c)
    rows[0] /= math.sqrt(2)
    return rows


def _released(c: int) -> Tensor:
    """Return Mᵀ for the matrix M of the released code, which multiplies tubes from the right.

    Its row k = 0 is divided by √(c/2) and the others by 1, so it is not orthogonal: its singular values are √(c/2)
    and √2.
    """
    rows = math.sqrt(c / 2) * _dct(c)
    rows[0] *= math.sqrt(2) * math.sqrt(2 / c)
    return rows.mT


def _haar(c: int) -> Tensor:
    """Return the Haar wavelets: differences of neighbours, then recursively of their sums; an odd last one is kept."""
    if c == 1:
        return torch.eye(1, dtype=torch.float64)
    pairs, odd = divmod(c, 2)
    sums = torch.zeros(pairs + odd, c, dtype=torch.float64)
    differences = torch.zeros(pairs, c, dtype=torch.float64)
    pair = torch.arange(pairs)
    sums[pair, 2 * pair] = sums[pair, 2 * pair + 1] = differences[pair, 2 * pair] = math.sqrt(0.5)
    differences[pair, 2 * pair + 1] = -math.sqrt(0.5)
    if odd:
        sums[-1, -1] = 1
    return torch.cat([_haar(pairs + odd) @ sums, differences])


def _along_tubes(m: Tensor) -> Callable[[Tensor], Tensor]:
    """Return M as one matrix product for each leading index."""
    cache: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def apply(tensor: Tensor) -> Tensor:
        key = (tensor.dtype, tensor.device)
        if key not in cache:
            cache[key] = m.to(tensor)
        flat = tensor.flatten(-2)
        # Expanded to the same number of axes: otherwise matmul may copy a transposed tensor.
        return (cache[key].expand(*flat.shape[:-2], *m.shape) @ flat).unflatten(-1, tensor.shape[-2:])

    return apply


def _dft(c: int, scale: float) -> Transform:
    """Return the unitary DFT of real tensors: slices k and c − k are conjugate, and one of them is stored.

    The real and the imaginary parts of all slices are one real matrix product, several times as fast as an FFT along a
    short axis that is not the last one.
    """
    slices = c // 2 + 1
    k, i = torch.meshgrid(torch.arange(slices), torch.arange(c), indexing="ij")
    angle = 2 * math.pi / c * (k * i % c).double()
    parts = torch.cat([angle.cos(), -angle.sin()]) / math.sqrt(c)
    multiplicity = torch.full((slices,), 2.0, dtype=torch.float64)
    multiplicity[0] = 1
    if c % 2 == 0:
        multiplicity[-1] = 1
    to_parts, from_parts = _along_tubes(scale * parts), _along_tubes(parts.mT * multiplicity.repeat(2) / scale)

    def forward(tensor: Tensor) -> Tensor:
        return torch.complex(*to_parts(tensor).chunk(2, -3))

    def inverse(hat: Tensor) -> Tensor:
        return from_parts(torch.cat([hat.real, hat.imag], -3))

    return Transform(forward, inverse, multiplicity, scale, orthogonal=True, real=False)
