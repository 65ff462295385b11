"""Error rates on training and test set. Every point without y·N(x) > 0 is an error, also an output of 0 or NaN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from src.constraints import Count
from src.data import clusters
from src.errors import ConfigError
from src.types import Measurement, Model, Params, Snapshot, Task

_CHUNK = 4096  # most fresh test points in memory at a time, per member


def build(task: Task, model: Model, *, points: Count | None = None) -> Measurement:
    """Measure ``train_error``, ``test_error`` (fractions), ``test_errors``, ``test_points`` (counts).

    Args:
        task: its test set is used if ``points`` is null.
        model: any network with one output.
        points: number of fresh test points per member, the same at every snapshot; data=clusters only.

    Raises:
        ConfigError: for ``points`` with other data.
    """
    if points is not None and "seeds" not in task.facts:
        raise ConfigError("measurements.errors.points", points, "must be null, as fresh points need data=clusters")

    def wrong(params: Params, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return (~(y * model.apply(params, x) > 0)).sum(-1)

    def test_sets() -> Iterator[tuple[Tensor, Tensor]]:
        if points is None:
            yield task.x_test, task.y_test
            return
        for chunk, start in enumerate(range(0, points, _CHUNK)):
            x, y, _ = clusters.draw(task.facts, min(_CHUNK, points - start), "errors", chunk)
            yield x, y

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        train = wrong(snapshot.params, task.x, task.y).cpu()
        test = sum(wrong(snapshot.params, x, y) for x, y in test_sets()).cpu()  # type: ignore[union-attr]
        total = task.y_test.shape[-1] if points is None else points
        return {
            "train_error": train.double() / task.y.shape[-1],
            "test_error": test.double() / total,
            "test_errors": test,
            "test_points": torch.full_like(test, total),
        }

    return measure
