"""Hölder duality of vectors: ‖b‖_p, the exponent p' dual to p, and the unit vector u with ⟨u, b⟩ = ‖b‖_{p'}."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def conjugate(p: float) -> float:
    """Return p' with 1/p + 1/p' = 1."""
    return math.inf if p == 1 else 1.0 if p == math.inf else p / (p - 1)


def p_norm(b: Tensor, p: float) -> Tensor:
    """Return ‖b‖_p along the last axis, without overflow or underflow of the powers."""
    norm = torch.linalg.vector_norm(b, p, dim=-1)
    if p == math.inf:
        return norm
    safe = torch.finfo(b.dtype).max ** (0.8 / p)
    low, high = norm.aminmax()
    if 1 / safe < low and high < safe:
        return norm
    largest = b.abs().amax(-1)
    return largest * torch.linalg.vector_norm(b / safe_divisor(largest).unsqueeze(-1), p, dim=-1)


def lmo(b: Tensor, p: float) -> Tensor:
    """Return u with ‖u‖_p = 1 and ⟨u, b⟩ = ‖b‖_{p'} for b ≥ 0 ``[..., K]``; zero where b is zero.

    This is minus the linear minimisation oracle (LMO) of the unit ball, u ∝ b^{p'−1}. At p = ∞, u is one wherever
    b > 0. At p = 1, u is uniform over the largest entries, those equal up to rounding.
    """
    relative = b / safe_divisor(b.amax(-1, keepdim=True))
    tied = 1 - 64 * torch.finfo(b.dtype).eps
    u = (relative >= tied).to(b) if p == 1 else relative ** (conjugate(p) - 1)
    u = torch.where(b == 0, 0, u)
    return u if p == math.inf else u / safe_divisor(p_norm(u, p).unsqueeze(-1))


def safe_divisor(size: Tensor) -> Tensor:
    """Return ``size`` with 1 for 0, for quotients whose numerator is zero there."""
    return torch.where(size > 0, size, 1)
