"""The log-risk and the norm of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.types import Measurement, Model, Params, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``log_risk`` (natural logarithm) and ``norm``, ‖θ‖₂ over all parameters."""

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        return {"log_risk": snapshot.log_risk.cpu().double(), "norm": norm(snapshot.params).cpu().double()}

    return measure


def norm(params: Params) -> Tensor:
    """Return ‖θ‖₂ ``[M]`` over all leaves."""
    return sum(leaf.flatten(1).square().sum(1) for leaf in params.values()).sqrt()  # type: ignore[union-attr]
