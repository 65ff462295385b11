"""The norm whose margin an optimizer is predicted to maximise (Gronich and Vardi, 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.optimizers import norms
from src.optimizers.norms import Norm, Sigma

NAMES = {
    "gd": "l2",
    "ngd": "l2",
    "nmd": "l2",
    "signgd": "linf",
    "signum": "linf",
    "adam": "linf",
    "lion": "linf",
    "muon": "msp",
    "muon_newton_schulz": "msp",
    "muon_signum": "hyb",
    "muon_adam": "hyb",
}
"""Optimizer → name of the norm for ``norms.norm_from_name``; for ``lion`` by the same argument as for the others."""


def predicted(optimizer: Mapping[str, Any], sigma: Sigma = norms.singular_values) -> Norm | None:
    """Return the norm for a config node ``optimizer`` (name, and ratio or p if its norm has one), None if unknown."""
    if optimizer["name"] == "steepest":
        return norms.norm_from_name(optimizer["norm"], p=optimizer["p"], sigma=sigma)
    name = NAMES.get(optimizer["name"])
    if name is None:
        return None
    return norms.norm_from_name(name, ratio=optimizer["ratio"] if name == "hyb" else 1.0, sigma=sigma)
