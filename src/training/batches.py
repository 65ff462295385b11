"""Which examples a step sees: a function of the step alone, so that a resumed run goes on bit for bit."""

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
    """``step -> Batch`` with inputs ``[M, batch_size, ...]``; all examples at every step when ``batch_size`` is None.

    An epoch is ⌈N/batch_size⌉ steps through a permutation that member i draws from ``seeds[i]`` and the number of the
    epoch; the last batch of an epoch is what is left.

    Raises:
        ConfigError: for a batch larger than the training set.
    """
    if batch_size is None:
        whole = Batch(task.x, task.y)
        return lambda step: whole
    examples, shared = task.y.shape[-1], task.y.ndim == 1
    steps = math.ceil(examples / batch_size)
    if batch_size > examples:
        raise ConfigError("batch_size", batch_size, f"must be <= {examples}, the training examples")
    member = torch.arange(len(seeds), device=task.x.device).unsqueeze(-1)

    @lru_cache(maxsize=2)  # one epoch, and the next one at its border
    def order(epoch: int) -> Tensor:
        return torch.stack([permutation(seed, "batches", examples, epoch) for seed in seeds]).to(task.x.device)

    def batch(step: int) -> Batch:
        epoch, place = divmod(step, steps)
        index = order(epoch)[:, place * batch_size : (place + 1) * batch_size]
        return Batch(task.x[index], task.y[index]) if shared else Batch(task.x[member, index], task.y[member, index])

    return batch


def steps_of_epoch(task: Task, batch_size: int | None) -> int | None:
    """Steps in which every example is seen once; None without batches."""
    return None if batch_size is None else math.ceil(task.y.shape[-1] / batch_size)
