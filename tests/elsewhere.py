"""A second device, made of the CPU: it computes what the CPU does and refuses, as a GPU would, to mix with it.

Tensors on it say that they are on ``meta``, which has no kernels of its own, and hold a tensor of the CPU. What a GPU
would do to them happens to that: an operation on tensors of both devices fails, unless CUDA allows it too.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")
ATEN = torch.ops.aten
MOVES = {ATEN._to_copy.default, ATEN.copy_.default}
INDEXING = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default}  # CUDA takes indices of the CPU


class There(torch.Tensor):
    """A tensor elsewhere, which stands for ``held``."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=ELSEWHERE, requires_grad=held.requires_grad,
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    def tolist(self):
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return on_one_device(function, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return on_one_device(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """``torch.tensor`` and ``torch.as_tensor`` of numbers, of which ``meta`` would keep the shape alone."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == ELSEWHERE:
            return function(*args, **kwargs | {"device": "cpu"}).to(ELSEWHERE)
        return function(*args, **kwargs)


@contextmanager
def elsewhere():
    """Within it ``device="meta"`` is the second device."""
    with _Operations(), _Literals():
        yield


def on_one_device(function, args, kwargs):
    """The operation on what the tensors hold; its results are where its arguments are, or where it is told."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    theirs = [tensor for tensor in tensors if isinstance(tensor, There)]
    ours = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.ndim > 0]
    if theirs and ours and function not in MOVES | INDEXING:
        raise RuntimeError(f"{function}: expected all tensors to be on the same device")
    there = isinstance(args[0], There) if function in {ATEN.copy_.default} | INDEXING else bool(theirs)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    holders = {id(tensor.held): tensor for tensor in theirs}
    result = function(*tree_map(_held, args), **tree_map(_held, kwargs))

    def placed(leaf):
        if not isinstance(leaf, torch.Tensor) or not there:
            return leaf
        return holders[id(leaf)] if id(leaf) in holders else There(leaf)

    return tree_map(placed, result)


def _held(leaf):
    return leaf.held if isinstance(leaf, There) else leaf
