"""Whether a rule commutes with rotations of the input: trained on R x, it ends at W₁ Rᵀ, the same function.

Steepest descent does if its norm of the first layer is invariant under W₁ → W₁ Rᵀ; Adam, whose step depends on single
entries, does not. Reduced coordinates (``src/data/clusters.py``) are those of R^d, rotated and cut down to the span of
the data. So only a rule that commutes, and does not depend on the number of coordinates, trains there as in R^d.

The file of a rule says so by ``COMMUTES_WITH_ROTATIONS = True``, or by a function ``commutes_with_rotations(optimizer,
layers)`` of its node of the config and the number of weight layers; a file that says nothing has a rule that does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

INVARIANT = frozenset({"l2", "msp", "rows", "schatten", "spectral"})
"""Norms of a layer, as configs name them, that a rotation of its rows leaves as they are."""


def commutes(optimizer: Mapping[str, Any], layers: int = 2) -> bool:
    """Whether the rule of a config's node ``optimizer`` commutes with rotations, in a network of so many layers."""
    module = importlib.import_module(f"src.optimizers.{optimizer['name']}")
    if hasattr(module, "commutes_with_rotations"):
        return module.commutes_with_rotations(optimizer, layers)
    return getattr(module, "COMMUTES_WITH_ROTATIONS", False)
