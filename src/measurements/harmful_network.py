"""The harmful interpolator: it fits the training set and errs on fresh points, in closed form (O10, docs/paper1.md)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import ConfigError
from src.measurements import errors, margin
from src.models.two_layer_relu import balanced
from src.oracles.clusters import feature_averaging
from src.types import Measurement, Model, Params, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure errors and normalised margin of :func:`harmful_network` on the data of every member.

    Columns: ``harmful_train_error``, ``harmful_test_errors``, ``harmful_test_points`` and ``harmful_margin``.

    Raises:
        ConfigError: for a task without clusters.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements.harmful_network", "{}", "needs data=clusters")
    params = harmful_network(task.x, task.y, *(task.facts[name].to(task.x) for name in ("means", "labels")))
    measurements = [errors.build(task, model), margin.build(task, model)]

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        view = Snapshot(snapshot.step, params, snapshot.log_risk)
        columns = {name: values for measurement in measurements for name, values in measurement(view).items()}
        return {f"harmful_{name}": columns[name] for name in ("train_error", "test_errors", "test_points", "margin")}

    return measure


def harmful_network(x: Tensor, y: Tensor, means: Tensor, labels: Tensor) -> Params:
    """Return minus the feature-averaging network plus one spike per training point ``x [M, n, r]``, balanced.

    With ξ the part of a point that is orthogonal to all means ``[M, k, r]``, its spike is 2 at the point itself and 0
    wherever the noise has no large component along ξ.
    """
    averaging = feature_averaging(means, labels)
    noise = x - x @ means.mT @ torch.linalg.solve(means @ means.mT, means)
    # wᵢ = 4ξᵢ/‖ξᵢ‖²,  bᵢ = −2,  vᵢ = yᵢ
    spikes = balanced({"w": 4 * noise / noise.square().sum(-1, keepdim=True), "b": torch.full_like(y, -2), "v": y})
    averaging["v"] = -averaging["v"]
    return {name: torch.cat([averaging[name], spikes[name]], 1) for name in spikes}
