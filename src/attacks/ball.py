"""Random perturbations of R^d, projected on r of its coordinates.

A task in reduced coordinates has only the r directions that the outputs depend on. A random direction of R^d is almost
orthogonal to them, so a random start drawn in R^r would be far stronger. Here the law is that of R^d, for any d: the
squared length outside the r coordinates is χ²(d − r), that inside χ²(r).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from src.randomness import generator, normal, uniform


def unit_vectors(seed: int, rng_key: str, count: int, r: int, d: int) -> tuple[Tensor, Tensor]:
    """Draw uniform points of the unit sphere of R^d, each as r coordinates and the length of the other d − r.

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
    """Draw uniform points of the unit ball of R^d, in the form of :func:`unit_vectors`."""
    inside, outside = unit_vectors(seed, rng_key, count, r, d)
    # ‖U‖^d is uniform on [0, 1].
    radius = uniform(seed, f"{rng_key} radius", (count,)) ** (1 / d)
    return inside * radius[:, None], outside * radius
