"""Data sets: ``data.NAME(seeds=[…], …)`` returns a ``Task`` with inputs ``[M, N, ...]`` and labels ±1 ``[M, N]``.

M is the number of seeds: member i of all networks is trained on the data of ``seeds[i]``. Some data sets are shared by
the members, ``[N, ...]``. Numbers are float64, in the units of the data set.

>>> from src.api import data
>>> dir(data)
['cifar10', 'clusters', 'fashion_mnist', 'mnist', 'npz', 'rademacher', 'separable', 'teacher', 'tensors']
>>> task = data.clusters(seeds=[0, 1, 2], k=4, d=64, n=16)
>>> task.x.shape, task.y[0].unique().tolist()
(torch.Size([3, 16, 20]), [-1.0, 1.0])
>>> data.separable(shpae=[3])
Traceback (most recent call last):
src.errors.ConfigError: data.shpae=[3]: unknown key (did you mean 'shape'?); known: shape, n, n_test, margin
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from src.api import parts
from src.data.npz import from_arrays
from src.types import Task

__getattr__, _names = parts.of_group("data")


def __dir__() -> list[str]:
    return sorted([*_names(), "tensors"])


def tensors(x: Any, y: Any, x_test: Any = None, y_test: Any = None, *, seeds: Sequence[int] = (0,)) -> Task:
    """Return a task of your own data, shared by the networks of all ``seeds``.

    Args:
        x: inputs ``[N, ...]``, a tensor or an array.
        y: labels ±1, ``[N]``.
        x_test: like ``x``. Without a test set, test errors are NaN.
        y_test: like ``y``.
        seeds: one network for each.

    Raises:
        ConfigError: for numbers that are not finite, other labels, or sizes that differ.

    >>> from src.api import data
    >>> data.tensors([[1.0, 0.0], [0.0, 1.0]], [1, 0])
    Traceback (most recent call last):
    src.errors.ConfigError: data=arrays: labels y must be -1 and 1, not 0, 1; 2*y - 1 converts 0 and 1
    """
    arrays = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    task = from_arrays({name: array for name, array in arrays.items() if array is not None})
    return task._replace(facts={"members": torch.tensor(list(seeds))})
