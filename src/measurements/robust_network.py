"""The measurements of a trained network, of the explicit robust network of Theorem 4.1 on the same data."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.constraints import Count
from src.errors import ConfigError
from src.measurements import robustness, universal
from src.models.two_layer_relu import robust_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, points: Count = 100) -> Measurement:
    """Measure ``robust_<column>`` for the columns of ``universal`` and ``robustness`` and for the test errors.

    Raises:
        ConfigError: for a task without clusters.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements.robust_network", "{}", "needs data=clusters")
    facts = task.facts
    network = robust_network(facts["means"], facts["labels"], facts["d"])
    params = {name: leaf.to(task.x) for name, leaf in network.items()}
    measurements = [universal.build(task, model), robustness.build(task, model, points=points)]

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        view = Snapshot(snapshot.step, params, snapshot.log_risk)
        wrong = (~(task.y_test * model.apply(params, task.x_test) > 0)).sum(-1)
        columns = {"test_errors": wrong, "test_points": wrong * 0 + task.y_test.shape[-1]}
        for measurement in measurements:
            columns |= measurement(view)
        return {f"robust_{name}": values for name, values in columns.items()}

    return measure
