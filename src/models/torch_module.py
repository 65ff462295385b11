"""Your own network: any ``torch.nn.Module`` with one output, by its import path or as an object.

The members are evaluated one after the other, so training does not gain from a batch of seeds. The module is in
evaluation mode: no dropout, and batch norm uses its running statistics, which do not change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module

from src import cli
from src.errors import ConfigError
from src.models.homogeneity import homogeneity
from src.types import Model, Params, Task

PROBES = 8
"""Examples at which shapes and Euler's identity are checked."""


def build(task: Task, *, path: str, arguments: dict[str, Any] | None = None, homogeneous: bool = True) -> Model:
    """Build the class ``path(**arguments)``; see :func:`from_module`.

    Args:
        task: an input of the module is ``[N, ...]``, as one of ``task.x``.
        path: for example ``my_networks.Net``, in a module on your Python path.
        arguments: keyword arguments of the class.
        homogeneous: refuse a module that is not homogeneous. False: it has no normalised margins.

    Raises:
        ConfigError: as ``from_module``, and for a path or arguments that do not give a module.
    """
    make = cli.imported(path, "model.path")
    if isinstance(make, Module) and not arguments:
        return from_module(task, make, path, homogeneous=homogeneous)
    if not (issubclass(make, Module) if isinstance(make, type) else callable(make)):
        raise ConfigError("model.path", path, "must be a class of torch.nn.Module, or a function that returns one")

    def module() -> Module:
        try:
            return make(**(arguments or {}))
        except (TypeError, ValueError) as error:
            raise ConfigError("model.arguments", arguments, f"rejected by {path}: {_first_line(error)}") from error

    return from_module(task, module, path, homogeneous=homogeneous)


def from_module(
    task: Task, module: Module | Callable[[], Module], name: str = "module", *, homogeneous: bool = True
) -> Model:
    """Return the model of a module: every member has a copy of its parameters.

    A parameter with more than two axes, as of a convolution, is a matrix of the first axis by the others, as in Muon.

    Args:
        task: an input of the module is ``[N, ...]``, as one of ``task.x``; its output is ``[N]`` or ``[N, 1]``.
        module: a module, with whose parameters every member starts, or a function that makes one; PyTorch is then
            seeded with the seed of the member.
        name: of the module, for errors.
        homogeneous: refuse a module that is not homogeneous. False: it has no normalised margins.

    Raises:
        ConfigError: for a module that rejects the inputs, has another output or no parameters, or is not homogeneous.
    """
    make = (lambda: copy.deepcopy(module)) if isinstance(module, Module) else module
    input_axes = task.x.ndim - task.y.ndim

    def made(seed: int) -> Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            own = make()
        if not isinstance(own, Module):
            raise ConfigError("model.path", name, f"must give a torch.nn.Module, not {type(own).__name__}")
        return own.to(task.x).eval()

    network = made(0)
    shapes = {key: leaf.shape for key, leaf in network.named_parameters()}
    if not shapes:
        raise ConfigError("model.path", name, "has no parameters")

    def init(seeds: Sequence[int]) -> Params:
        members = [dict(made(seed).named_parameters()) for seed in seeds]
        return {key: torch.stack([_matrix(member[key].detach()) for member in members]) for key in shapes}

    def apply(params: Params, x: Tensor) -> Tensor:
        members = len(next(iter(params.values())))
        inputs = [x] * members if x.ndim == input_axes + 1 else x.unbind()
        outputs = []
        for i, examples in enumerate(inputs):
            own = {key: params[key][i].reshape(shape) for key, shape in shapes.items()}
            outputs.append(functional_call(network, own, (examples,)).flatten())
        return torch.stack(outputs)

    x = task.x.flatten(0, task.y.ndim - 1)[:PROBES]
    try:
        output = network(x)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError("model.path", name, f"rejects inputs {list(x.shape)}: {_first_line(error)}") from error
    if not isinstance(output, Tensor) or output.shape not in ((len(x),), (len(x), 1)):
        returned = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError("model.path", name, f"must return [N] or [N, 1] for {len(x)} inputs, not {returned}")
    if not homogeneous:
        return Model(init, apply, degree=None)
    degree, problem = homogeneity(apply, init([0]), x)
    if problem:
        allowed = f"is not homogeneous, so it has no normalised margin: {problem}; model.homogeneous=false trains it"
        raise ConfigError("model.path", name, allowed)
    return Model(init, apply, degree)


def _matrix(leaf: Tensor) -> Tensor:
    return leaf.flatten(1) if leaf.ndim > 2 else leaf.reshape(1) if leaf.ndim == 0 else leaf


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
