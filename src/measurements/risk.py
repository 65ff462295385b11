"""How far training has come: the log-risk and the norm of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.types import Measurement, Model, Params, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Columns ``log_risk`` (natural logarithm) and ``norm``, ‖θ‖₂ over all parameters."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        return {"log_risk": snapshot.log_risk.cpu().double(), "norm": norm(snapshot.params).cpu().double()}

    return measure


def norm(params: Params) -> Tensor:
    """‖θ‖₂ over all leaves, ``[M]``."""
    return sum(leaf.flatten(1).square().sum(1) for leaf in params.values()).sqrt()  # type: ignore[union-attr]
