"""Margin and alignment in the norm whose margin the optimizer is predicted to maximise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from src.measurements.norm_margins import margin_and_alignment, weighted_gradient
from src.optimizers import norms as geometry
from src.optimizers.norms import Norm
from src.types import Measurement, Model, Snapshot, Task

PREDICTED: dict[str, Callable[[Mapping[str, Any]], Norm]] = {
    "gd": lambda optimizer: geometry.l2(),
    "ngd": lambda optimizer: geometry.l2(),
    "nmd": lambda optimizer: geometry.l2(),
    "signgd": lambda optimizer: geometry.linf(),
    "signum": lambda optimizer: geometry.linf(),
    "adam": lambda optimizer: geometry.linf(),
    "lion": lambda optimizer: geometry.linf(),
    "muon": lambda optimizer: geometry.msp(),
    "muon_newton_schulz": lambda optimizer: geometry.msp(),
    "muon_signum": lambda optimizer: geometry.hybrid(optimizer["ratio"]),
    "muon_adam": lambda optimizer: geometry.hybrid(optimizer["ratio"]),
    "steepest": lambda optimizer: geometry.named(optimizer["norm"], p=optimizer["p"]),
}
"""The norm of each optimizer (Gronich and Vardi, 2026); ``steepest`` and ``lion`` by the same argument."""


def build(task: Task, model: Model, *, optimizer: dict) -> Measurement:
    """Columns ``gamma_own`` and ``kappa_own``, defined as in ``norm_margins``; none for an optimizer without a norm.

    ``optimizer`` is the optimizer's own node of the config: its name, and r or p where its norm has one.
    """
    if optimizer["name"] not in PREDICTED:
        return lambda snapshot: {}
    norm = PREDICTED[optimizer["name"]](optimizer)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        q, _, gradient = weighted_gradient(task, model, snapshot.params)
        gamma, kappa = margin_and_alignment(snapshot.params, gradient, q.amin(-1), model.degree, norm)
        return {"gamma_own": gamma.cpu().double(), "kappa_own": kappa.cpu().double()}

    return measure
