"""The examples of a step: a function of the step only, so that resumed and uninterrupted runs agree bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from src.errors import ConfigError
from src.randomness import permutation
from src.types import Batch, Task


def build(task: Task, seeds: Sequence[int], batch_size: int | None) -> Callable[[int], Batch]:
    """Return ``step -> Batch`` with inputs ``[M, batch_size, ...]``, or with all examples when ``batch_size`` is None.

    An epoch is ⌈N/batch_size⌉ steps through a permutation drawn from ``seeds[i]`` and the number of the epoch; its
    last batch has the remaining examples.

    Raises:
        ConfigError: for a batch larger than the training set.
    """
    if batch_size is None:
        whole = Batch(task.x, task.y)
        return lambda step: whole
    examples, shared = task.y.shape[-1], task.y.ndim == 1
    steps = math.ceil(examples / batch_size)
    if batch_size > examples:
        raise ConfigError("batch_size", batch_size, f"must be <= {examples}, the number of training examples")
    member = torch.arange(len(seeds), device=task.x.device).unsqueeze(-1)

    @lru_cache(maxsize=2)  # a snapshot at the end of an epoch needs both the old and the new one
    def order(epoch: int) -> Tensor:
        return torch.stack([permutation(seed, "batches", examples, epoch) for seed in seeds]).to(task.x.device)

    def batch(step: int) -> Batch:
        epoch, within = divmod(step, steps)
        index = order(epoch)[:, within * batch_size : (within + 1) * batch_size]
        return Batch(task.x[index], task.y[index]) if shared else Batch(task.x[member, index], task.y[member, index])

    return batch


def steps_of_epoch(task: Task, batch_size: int | None) -> int | None:
    """Return the number of steps of an epoch; None without batches."""
    return None if batch_size is None else math.ceil(task.y.shape[-1] / batch_size)
