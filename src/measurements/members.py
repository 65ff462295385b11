"""What several measurements need: the degree of a network, and the data and parameters of one member."""

from __future__ import annotations

from torch import Tensor

from src.errors import ConfigError
from src.types import Model, Params, Task


def degree_of(model: Model, reason: str) -> float:
    """Return the degree of homogeneity; raise ConfigError with the ``reason`` for a network that has none."""
    if model.degree is None:
        raise ConfigError("model.name", "not homogeneous", reason)
    return model.degree


def one_member(task: Task, params: Params, member: int) -> tuple[Tensor, Tensor, Params]:
    """Return the training set ``[N, ...]``, ``[N]`` of a member, and its parameters with a members axis of length 1."""
    x, y = (task.x[member], task.y[member]) if task.y.ndim == 2 else (task.x, task.y)
    return x, y, {name: leaf[member : member + 1].detach() for name, leaf in params.items()}
