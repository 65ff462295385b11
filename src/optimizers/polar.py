"""The polar factor U Vᵀ of G = U Σ Vᵀ: the steepest direction in the spectral norm.

Exact ones set singular directions with σ = 0 (to rounding) to zero, as the polar factor is not unique there. All take
matrices ``[..., a, b]``, are invariant to the scale of G and keep the dtype. A matrix that is not finite is replaced
by zero, as LAPACK would raise for the whole batch; its singular values are NaN.

For float32 the Gram matrix in float64 is used, which takes half of the time or less. Squaring loses σ ≤ 1e-7 σ_max.
Rounding to single precision changes σ by up to 6e-8 ‖G‖_F, so little is lost, except in rows or columns that are that
small as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from src.optimizers.duality import p_norm, safe_divisor

MUON = ((3.4445, -4.7750, 2.0315),)
"""Jordan et al. (2024): largest slope at zero, does not converge; five steps give σ in about [0.7, 1.2]."""

CONVERGENT = ((15 / 8, -10 / 8, 3 / 8),)
"""The quintic Newton–Schulz iteration, of third order at σ = 1."""

_MINIMAX = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
POLAR_EXPRESS = (*((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in _MINIMAX), *CONVERGENT)
"""Amsel et al. (2025), Algorithm 1: minimax polynomials for σ ≥ 1e-3, with their safety factor 1.01."""

COEFFICIENTS = {"muon": MUON, "convergent": CONVERGENT, "polar_express": POLAR_EXPRESS}


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U ``[..., a, k]``, σ ``[..., k]``, Vᵀ ``[..., k, b]`` in float64; σ below rounding is set to zero."""
    if matrix.shape[-2] < matrix.shape[-1]:  # LAPACK takes 20 % longer for a wide matrix
        v, sigma, ut = svd(matrix.mT)
        return ut.mT, sigma, v.mT
    matrix, finite = _finite(matrix.double())
    u, sigma, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u, torch.where(finite, _without_rounding(sigma, matrix), torch.nan), vt


def singular_values(matrix: Tensor) -> Tensor:
    """Return σ ``[..., k]``, largest first, in float64, to the precision of the matrix."""
    if 1 in matrix.shape[-2:]:
        return _length(matrix.double()).squeeze(-1)
    tall, finite = _finite(matrix.mT if matrix.shape[-2] < matrix.shape[-1] else matrix)
    if matrix.dtype == torch.float64:
        sigma = _without_rounding(torch.linalg.svdvals(tall), matrix)
    else:
        scaled, size = _scaled(tall)
        sigma = size.squeeze(-1) * torch.linalg.eigvalsh(scaled.mT @ scaled).flip(-1).clamp(min=0).sqrt()
    return torch.where(finite, sigma, torch.nan)


def exact(matrix: Tensor) -> Tensor:
    """Return U Vᵀ to the precision of the matrix: by SVD in float64, by the Gram matrix in float32."""
    return by_svd(matrix) if matrix.dtype == torch.float64 else by_gram(matrix)


def by_svd(matrix: Tensor) -> Tensor:
    """Return U Vᵀ by SVD: ⟨U Vᵀ, G⟩ = ‖G‖_nuc and ‖U Vᵀ‖ = 1 to rounding for every G."""
    if 1 in matrix.shape[-2:]:
        return _row(matrix)
    u, sigma, vt = svd(matrix)
    return ((u * sigma.sign().unsqueeze(-2)) @ vt).to(matrix.dtype)


def by_gram(matrix: Tensor) -> Tensor:
    """Return U Vᵀ = (G Gᵀ)^{−1/2} G by an eigendecomposition in float64: faster than the SVD, above all on a GPU.

    Squaring loses half the digits: directions with σ ≤ 1e-7 σ_max are set to zero, and those just above have few
    correct digits.
    """
    if 1 in matrix.shape[-2:]:
        return _row(matrix)
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide, _ = _scaled(_finite(matrix.mT if tall else matrix)[0])
    squares, u = torch.linalg.eigh(wide @ wide.mT)
    kept = squares > 1e-14 * squares.amax(-1, keepdim=True)
    inverse_root = torch.where(kept, squares, torch.inf).rsqrt()
    factor = ((u * inverse_root.unsqueeze(-2)) @ u.mT) @ wide
    return (factor.mT if tall else factor).to(matrix.dtype)


def newton_schulz(
    matrix: Tensor, steps: int, coefficients: tuple[tuple[float, float, float], ...], dtype: torch.dtype
) -> Tensor:
    """Return the result of X ← a X + (b A + c A²) X with A = X Xᵀ, from X = G/‖G‖_F, in ``dtype``.

    Step i uses the i-th ``coefficients`` (a, b, c), and the last ones once they run out.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = (x / safe_divisor(_length(x))).to(dtype)
    for step in range(steps):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return (x.mT if tall else x).to(matrix.dtype)


EXACT = {"exact": exact, "svd": by_svd, "gram": by_gram}


def _finite(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices, with zero for those that are not finite, and a mask ``[..., 1]`` of the finite ones."""
    finite = torch.isfinite(_largest(matrix))
    if not finite.all():
        matrix = torch.where(finite[..., None, None], matrix, 0)
    return matrix, finite[..., None]


def _scaled(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix in float64 over its largest entry, and that entry ``[..., 1, 1]``; one of float32 as it is."""
    if matrix.dtype == torch.float32:  # its squares neither overflow nor underflow in float64
        return matrix.double(), torch.ones(1, 1, dtype=torch.float64, device=matrix.device)
    size = safe_divisor(_largest(matrix)[..., None, None].double())
    return matrix / size, size


def _largest(matrix: Tensor) -> Tensor:
    """Return max |G_ij|, ``[...]``; NaN if an entry is."""
    return matrix.abs().flatten(-2).amax(-1)


def _row(matrix: Tensor) -> Tensor:
    """Return the polar factor of a single row or column: the normalised vector."""
    return matrix / safe_divisor(_length(matrix))


def _length(matrix: Tensor) -> Tensor:
    """Return ‖·‖_F ``[..., 1, 1]``."""
    return p_norm(matrix.flatten(-2), 2)[..., None, None]


def _without_rounding(sigma: Tensor, matrix: Tensor) -> Tensor:
    """Set σ below 8·max(a, b)·eps·σ_max to zero: sums over thousands of examples round by up to 3·max(a, b)·eps."""
    floor = 8 * max(matrix.shape[-2:]) * torch.finfo(sigma.dtype).eps * sigma[..., :1]
    return torch.where(sigma > floor, sigma, 0)
