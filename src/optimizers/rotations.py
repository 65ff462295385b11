"""Whether a rule commutes with rotations of the input: training on R x ends at W₁ Rᵀ, the same function.

Steepest descent does if its norm of the first layer is invariant under W₁ → W₁ Rᵀ; Adam does not, as its step depends
on single entries. Reduced coordinates (``src/data/clusters.py``) are those of R^d, rotated and restricted to the span
of the data. So training there equals training in R^d only for rules that commute and do not depend on d.

The file of every rule has ``COMMUTES_WITH_ROTATIONS``, True or False, or a function
``commutes_with_rotations(optimizer, layers)`` of its config node and the number of weight layers. A test rotates the
data of every rule.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

INVARIANT = frozenset({"l2", "msp", "rows", "schatten", "spectral"})
"""Norms of a layer, by their names in configs, that are invariant under rotations of its rows."""


def commutes(optimizer: Mapping[str, object], layers: int = 2) -> bool:
    """Return whether the rule of a config node ``optimizer`` commutes with rotations, for a number of layers."""
    module = importlib.import_module(f"src.optimizers.{optimizer['name']}")
    if hasattr(module, "commutes_with_rotations"):
        return module.commutes_with_rotations(optimizer, layers)
    return module.COMMUTES_WITH_ROTATIONS
