"""Microbatching over members. Memory use is estimated beforehand instead of catching out-of-memory errors.

Members share no parameter, so the risk and its gradient can be computed for a few of them at a time. Results agree up
to rounding in BLAS. Only the activations need less memory; parameters and state of all members stay allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from src.errors import ConfigError
from src.types import Batch, Objective, Params, ScaledGrad, State

GB = 10**9
TRANSIENT = 2.0
"""Memory of a forward and backward pass over that of the saved activations, as gradients of activations are needed."""


def within(memory_gb: float | None, objective: Objective, params: Params, state: State, batch: Batch) -> Objective:
    """Return the objective, evaluated for as many members at a time as ``memory_gb`` allows.

    None allows 90 % of the free memory of a GPU, and any amount on a CPU.

    Raises:
        ConfigError: for a bound too small for one member.
    """
    bound = _bytes_allowed(memory_gb, batch.x.device)
    if bound is None:
        return objective
    members, fixed = len(next(iter(params.values()))), _fixed_bytes(params, state)
    per_member, available = activations(objective, params, batch), bound - fixed
    if available < per_member:
        allowed = f"must be >= {(fixed + per_member) / GB:.3g}, for {members} members and the activations of one"
        raise ConfigError("memory_gb", f"{bound / GB:.3g}", allowed)
    return microbatched(objective, int(available // per_member))


def _bytes_allowed(memory_gb: float | None, device: torch.device) -> float | None:
    if memory_gb is None and device.type == "cuda":
        return 0.9 * torch.cuda.mem_get_info(device)[0]
    return None if memory_gb is None else memory_gb * GB


def _fixed_bytes(params: Params, state: State) -> int:
    """Return the bytes of old and new parameters and state, which coexist during an update, and of one gradient."""
    return 2 * _bytes(params) + 2 * _bytes(state) + _bytes(params)


def activations(objective: Objective, params: Params, batch: Batch, examples: int = 8) -> float:
    """Estimate the peak bytes of one member's risk and gradient.

    Count the bytes that autograd saves on ``examples`` and on twice as many, and extrapolate linearly.
    """
    total = batch.y.shape[-1]
    if total <= 2 * examples:
        return TRANSIENT * _saved(objective, params, batch, total)
    few, more = (_saved(objective, params, batch, count) for count in (examples, 2 * examples))
    return TRANSIENT * (few + (more - few) * (total - examples) / examples)


def _saved(objective: Objective, params: Params, batch: Batch, examples: int) -> int:
    """Return the bytes that autograd saves for the first member on the first ``examples``."""
    first_params, first_batch = next(_split(params, batch, 1))
    small_batch = Batch(*(item.narrow(first_batch.y.ndim - 1, 0, examples) for item in first_batch))
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        objective(first_params, small_batch)
    inputs = {tensor.untyped_storage().data_ptr() for tensor in (*params.values(), *batch)}
    return sum(size for address, size in saved.items() if address not in inputs)


def microbatched(objective: Objective, size: int) -> Objective:
    """Return the same objective, evaluated for ``size`` members at a time."""

    def evaluate(params: Params, batch: Batch) -> tuple[Tensor, ScaledGrad]:
        if size >= len(next(iter(params.values()))):
            return objective(params, batch)
        risks, grads = zip(*(objective(*part) for part in _split(params, batch, size)), strict=True)
        direction = {name: torch.cat([grad.direction[name] for grad in grads]) for name in params}
        return torch.cat(risks), ScaledGrad(direction, torch.cat([grad.log_scale for grad in grads]))

    return evaluate


def _split(params: Params, batch: Batch, size: int) -> Iterator[tuple[Params, Batch]]:
    """Yield parameters and batch of ``size`` members at a time; shared examples are not split."""
    for start in range(0, len(next(iter(params.values()))), size):
        members = slice(start, start + size)
        examples = batch if batch.y.ndim == 1 else Batch(batch.x[members], batch.y[members])
        yield {name: leaf[members] for name, leaf in params.items()}, examples


def _bytes(tree: Any) -> int:
    """Return the bytes of all tensors of a tree."""
    if isinstance(tree, Tensor):
        return tree.nbytes
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return sum(map(_bytes, parts))
