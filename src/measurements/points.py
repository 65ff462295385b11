"""The test points at which attacks are measured."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from src.types import Model, Params, Task


class Points(NamedTuple):
    """P test points per member. ``right`` is False where a member has fewer than P correctly classified ones."""

    x: Tensor
    y: Tensor
    index: Tensor  # type: ignore[assignment]  # tuples have a method of this name
    right: Tensor


def correct_points(task: Task, model: Model, params: Params, points: int) -> Points:
    """Return the first P = ``points`` test points that each member classifies correctly.

    ``x`` is ``[M, P, r]``, the others are ``[M, P]``; ``index`` is that in the test set. If there are too few,
    misclassified points follow.
    """
    with torch.no_grad():
        right = task.y_test * model.apply(params, task.x_test) > 0
    index = torch.argsort(~right, dim=-1, stable=True)[:, :points]
    members = len(index)
    x, y = (item.expand(members, *item.shape[-rank:]) for item, rank in ((task.x_test, 2), (task.y_test, 1)))
    return Points(
        x.gather(1, index[..., None].expand(-1, -1, x.shape[-1])), y.gather(1, index), index, right.gather(1, index)
    )
