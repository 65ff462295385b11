"""Muon as in practice: the polar factor is approximated by a few Newton–Schulz steps."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch

from src.constraints import Count, Fraction, NonNegative, Positive
from src.optimizers import polar
from src.optimizers.muon import Scaling, spectral
from src.optimizers.muon import commutes_with_rotations as commutes_with_rotations
from src.optimizers.schedule import Rate, power_law
from src.optimizers.steepest import steepest_descent
from src.types import Model, Task, UpdateRule


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.6,
    momentum: Fraction = 0.9,
    nesterov: bool = False,
    scaling: Scaling = "none",
    steps: Count = 5,
    coefficients: Literal["muon", "convergent", "polar_express"] = "muon",
    precision: Literal["bfloat16", "float32", "float64"] = "bfloat16",
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build Muon with ``steps`` Newton–Schulz steps; arguments that are not listed are those of ``muon.build``.

    Unlike ``torch.optim.Muon`` it is scale-free: G is divided by ‖G‖_F itself, not by max(‖G‖_F, 1e-7).

    Args:
        steps: number of iterations; five with ``muon`` give singular values in about [0.7, 1.2].
        coefficients: ``muon`` is Jordan's, ``polar_express`` Amsel's, ``convergent`` the classical quintic.
        precision: dtype of the iteration.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    factor = partial(
        polar.newton_schulz,
        steps=steps,
        coefficients=polar.COEFFICIENTS[coefficients],
        dtype=getattr(torch, precision),
    )
    return steepest_descent(spectral(factor, scaling), rate, momentum=momentum, nesterov=nesterov)
