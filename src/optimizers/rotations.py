"""Which rules commute with rotations of the input: trained on R x, they end at W₁ Rᵀ, the same function.

Steepest descent commutes with them if its norm of the first layer is invariant under W₁ → W₁ Rᵀ, and Adam, whose step
depends on single entries, does not. Data in reduced coordinates (``src/data/clusters.py``) are a rotation of those in
R^d cut down to their span, so only a rule that commutes, and that does not depend on the number of coordinates, trains
there as it does in R^d.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALWAYS = frozenset({"gd", "sgd", "ngd", "nmd", "margin_flow"})
SPECTRAL = frozenset({"muon", "muon_newton_schulz"})
SPLIT = frozenset({"muon_signum", "muon_adam"})
"""Rules for hidden layers that commute, with another one for the last layer that does not."""
INVARIANT_NORMS = frozenset({"l2", "msp", "rows", "schatten", "spectral"})
"""Norms of a layer, as ``steepest`` and ``scion`` name them, that a rotation of its rows leaves as they are."""


def commutes(optimizer: Mapping[str, Any], layers: int = 2) -> bool:
    """Whether the rule commutes with rotations of the input of a network of ``layers`` weight layers.

    Args:
        optimizer: the rule's own node of the config, with its ``name`` and all its keys.
        layers: with a single one, the input's layer is also the last.

    Returns:
        False for a rule that is not known here: what is not shown is not assumed.
    """
    name = optimizer["name"]
    if name == "steepest":
        return optimizer.get("norm") in INVARIANT_NORMS or (optimizer.get("norm"), optimizer.get("p")) == ("lp", 2)
    if name == "scion":
        return optimizer.get("hidden" if layers > 1 else "last") in INVARIANT_NORMS
    if name == "torch_optimizer":
        return optimizer.get("path") == "torch.optim.SGD"
    if name in SPECTRAL:
        return optimizer.get("scaling") == "none"  # other scalings depend on the number of columns
    return name in ALWAYS or (name in SPLIT and layers > 1)
