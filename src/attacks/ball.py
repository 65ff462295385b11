"""Random perturbations of R^d, seen in r of its coordinates.

A task in reduced coordinates keeps only the r directions a network depends on. A random direction of R^d lies almost
wholly outside of them, so a random start drawn in R^r would be a far stronger one. Here it is drawn in R^d and
projected, in law and for any d: the squared length outside the r coordinates is χ²(d − r) where that inside is χ²(r).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from src.randomness import generator, normal, uniform


def unit_vectors(seed: int, rng_key: str, count: int, r: int, d: int) -> tuple[Tensor, Tensor]:
    """Uniform points of the unit sphere of R^d: their first r coordinates ``[count, r]`` and the rest's length.

    Returns:
        ``(inside [count, r], outside [count])`` with ‖inside‖² + outside² = 1, float64 on the CPU.
    """
    inside = normal(seed, f"{rng_key} direction", (count, r))
    chi2 = np.zeros(count)
    if d > r:
        chi2 = np.random.default_rng(generator(seed, f"{rng_key} outside").initial_seed()).chisquare(d - r, count)
    outside = torch.from_numpy(np.sqrt(chi2))
    length = (inside.square().sum(-1) + outside.square()).sqrt()
    return inside / length[:, None], outside / length


def ball_points(seed: int, rng_key: str, count: int, r: int, d: int) -> tuple[Tensor, Tensor]:
    """Uniform points of the unit ball of R^d, in the form of :func:`unit_vectors`."""
    inside, outside = unit_vectors(seed, rng_key, count, r, d)
    # ‖U‖^d is uniform on [0, 1].
    radius = uniform(seed, f"{rng_key} radius", (count,)) ** (1 / d)
    return inside * radius[:, None], outside * radius
