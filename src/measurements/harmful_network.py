"""The harmful interpolator: it fits the training set and errs on fresh points, in closed form (O10, docs/paper1.md)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.errors import ConfigError
from src.measurements import errors, margin
from src.models.two_layer_relu import balanced
from src.oracles.clusters import harmful_network
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure errors and normalised margin of :func:`harmful_network` on the data of every member.

    Columns: ``harmful_train_error``, ``harmful_test_errors``, ``harmful_test_points`` and ``harmful_margin``.

    Raises:
        ConfigError: for a task without clusters, or without noise, where no spike is at one point alone.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements.harmful_network", "{}", "needs data=clusters")
    if task.facts["sigma"] == 0:
        raise ConfigError("data.sigma", 0, "must be > 0 with measurements.harmful_network")
    means, labels = (task.facts[name].to(task.x) for name in ("means", "labels"))
    params = balanced(harmful_network(task.x, task.y, means, labels))
    measurements = [errors.build(task, model), margin.build(task, model)]

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        view = Snapshot(snapshot.step, params, snapshot.log_risk)
        columns = {name: values for measurement in measurements for name, values in measurement(view).items()}
        return {f"harmful_{name}": columns[name] for name in ("train_error", "test_errors", "test_points", "margin")}

    return measure
