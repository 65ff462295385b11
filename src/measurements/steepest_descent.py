"""How close training is to steepest descent in the rule's own norm (Gronich and Vardi, 2026, v1, section 5).

Definition 5.1 with u_t = (θ_{t+1} − θ_t)/η_t and g_t = −∇ log L(θ_t): a trajectory is approximate steepest descent if

    liminf r_t ≥ 1 with r_t = ⟨u_t, g_t⟩/(ν_t ‖g_t‖_*)   and   limsup ‖θ_t‖/Σ_{s<t} η_s ν_s ≤ 1,

where ν_t = ‖u_t‖ for momentum descent, and ν_t = 1 for Adam and Muon-Adam, for which ‖u_t‖ may exceed 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.measurements.members import degree_of
from src.optimizers.predicted import predicted
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, optimizer: dict) -> Measurement:
    """Measure, in the norm predicted for the optimizer:

    ``steepness``: ⟨u_t, g_t⟩/‖g_t‖_*, which is r_t for ν = 1; over ``update_norm``, ‖u_t‖, it is r_t for ν = ‖u_t‖.
    ``fall``: −⟨θ_{t+1} − θ_t, ∇ log L⟩, the fall of log L in one step to first order.
    ``reach``: ‖θ_t‖/Σ_{s<t} η_s, NaN before the first step; its limit superior must be at most 1 (C.17).
    ``soft_margin``: γ̃ = −log L/‖θ‖^L, a lower bound of γ for a summed loss (Theorem 3.1).

    There are no columns for an optimizer without a predicted norm or without learning rates.

    Args:
        task: not used.
        model: homogeneous of degree L.
        optimizer: config node of the optimizer: its name, and ratio or p if its norm has one.

    Raises:
        ConfigError: for a network without a degree of homogeneity.
    """
    degree = degree_of(model, "a soft margin needs a homogeneous network")
    norm = predicted(optimizer)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        move = snapshot.move() if norm else None
        if norm is None or move is None:
            return {}
        size = norm.value(move.params)
        inner = -sum((u * move.gradient[name]).flatten(1).sum(1) for name, u in move.direction.items())
        columns = {
            "steepness": inner / norm.dual(move.gradient),
            "update_norm": norm.value(move.direction),
            "fall": move.eta * inner,
            "reach": size / move.length.where(move.length > 0, float("nan")),
            "soft_margin": -snapshot.log_risk.double() / size**degree,
        }
        return {name: column.cpu() for name, column in columns.items()}

    return measure
