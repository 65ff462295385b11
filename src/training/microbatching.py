"""Microbatching over members. Memory use is estimated beforehand instead of catching out-of-memory errors.

Members share no parameter, so a risk and its gradient may be taken for some of them at a time. The numbers are the same
up to the order in which BLAS rounds; only the activations held at once are fewer. Parameters and the optimizer's state
of all members are held always.
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
"""What a backward pass holds over what the forward pass saved for it: every activation's gradient, for a while."""


def within(memory_gb: float | None, objective: Objective, params: Params, state: State, batch: Batch) -> Objective:
    """Return the objective, evaluated for as many members at a time as ``memory_gb`` allows.

    None is what the device has free; on a CPU that is no bound.

    Raises:
        ConfigError: when not even one member at a time fits.
    """
    bound = _bytes_allowed(memory_gb, batch.x.device)
    if bound is None:
        return objective
    members, held, each = len(next(iter(params.values()))), _held(params, state), activations(objective, params, batch)
    room = bound - held
    if room < each:
        needed = f"must be >= {(held + each) / GB:.3g}, for {members} members and the activations of one"
        raise ConfigError("memory_gb", f"{bound / GB:.3g}", needed)
    return microbatched(objective, int(room // each))


def _bytes_allowed(memory_gb: float | None, device: torch.device) -> float | None:
    if memory_gb is None and device.type == "cuda":
        return 0.9 * torch.cuda.mem_get_info(device)[0]
    return None if memory_gb is None else memory_gb * GB


def _held(params: Params, state: State) -> int:
    """Bytes: an update makes a new copy of parameters and state before the old one goes, and there is one gradient."""
    return 2 * _bytes(params) + 2 * _bytes(state) + _bytes(params)


def activations(objective: Objective, params: Params, batch: Batch, examples: int = 8) -> float:
    """Estimated bytes that one member's risk and gradient hold at once.

    What autograd saves of one member is counted on ``examples`` and on twice as many, and continued as a line.
    """
    total = batch.y.shape[-1]
    if total <= 2 * examples:
        return TRANSIENT * _saved(objective, params, batch, total)
    few, more = (_saved(objective, params, batch, count) for count in (examples, 2 * examples))
    return TRANSIENT * (few + (more - few) * (total - examples) / examples)


def _saved(objective: Objective, params: Params, batch: Batch, examples: int) -> int:
    """Bytes that autograd saves of the first member on the first ``examples``."""
    one, own = next(_split(params, batch, 1))
    some = Batch(*(item.narrow(own.y.ndim - 1, 0, examples) for item in own))
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        objective(one, some)
    there = {tensor.untyped_storage().data_ptr() for tensor in (*params.values(), *batch)}
    return sum(size for where, size in saved.items() if where not in there)


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
    """Parameters and examples of ``size`` members after the other; examples that all share stay whole."""
    for start in range(0, len(next(iter(params.values()))), size):
        some = slice(start, start + size)
        own = batch if batch.y.ndim == 1 else Batch(batch.x[some], batch.y[some])
        yield {name: leaf[some] for name, leaf in params.items()}, own


def _bytes(tree: Any) -> int:
    """Of all tensors of a tree."""
    if isinstance(tree, Tensor):
        return tree.nbytes
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return sum(map(_bytes, parts))
