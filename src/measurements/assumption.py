"""Both sides of Assumption 2.2 on the clusters of the task, and the closed forms that claims compare with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``assumption_left``, ``assumption_right``, ``assumption_met``, ``margin_oracle`` and ``radius_oracle``.

    Assumption 2.2 (recalled form) is met (1, else 0) if left ≤ right. The oracles are the closed forms O1 and O2 or
    O3 of docs/paper1.md, NaN where there is none.

    Raises:
        ConfigError: for a task without clusters.
    """
    if "assumption_left" not in task.facts:
        raise ConfigError("measurements.assumption", task.facts.get("name", "?"), "needs data=clusters")
    names = ("assumption_left", "assumption_right", "margin_oracle", "radius_oracle")
    facts = {name: task.facts[name].to("cpu", torch.float64) for name in names}
    facts["assumption_met"] = (facts["assumption_left"] <= facts["assumption_right"]).long()

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        return facts

    return measure
