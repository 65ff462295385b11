"""Any ``torch.optim.Optimizer`` class, yours or torch's own, named by its import path.

What is lost against the rules of this package: the members are stepped one after the other; a class with a constant
ε, a clamp or a float32 buffer sees the true gradient fade with the loss and stops being what its name says (and below
a loss of 1e-308 the gradient is zero); and a ``closure`` is not given, so L-BFGS cannot be used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from src.constraints import NonNegative, Positive
from src.errors import ConfigError
from src.optimizers.log_scaled import per_member
from src.optimizers.schedule import Rate, first_step, power_law
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule


def commutes_with_rotations(optimizer: Mapping[str, Any], layers: int) -> bool:
    """Of the classes of ``torch.optim``, only SGD does whatever its arguments are."""
    return optimizer.get("path") == "torch.optim.SGD"


def build(
    task: Task,
    model: Model,
    *,
    path: str = "torch.optim.Adam",
    arguments: dict[str, Any] | None = None,
    lr: Rate = 0.07,
    gradient: Literal["risk", "log_risk"] = "risk",
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """``path(params, lr=η_t, **arguments)`` with its learning rate set before every step.

    Args:
        task: not used.
        model: its degree is what the schedule is checked against.
        path: for example ``torch.optim.Muon``, or a class of a module on your Python path.
        arguments: for the class, without ``params`` and ``lr``.
        lr: η0.
        gradient: hand over ∇L, or ∇ log L, which does not fade.
        exponent: a of the schedule.
        t0: shift of the schedule.

    Raises:
        ConfigError: when there is no such class, or it refuses the arguments or the shapes of the parameters.
    """
    optimizer_class = _optimizer_class(path)
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)

    def make(leaves: list[Parameter]) -> torch.optim.Optimizer:
        try:
            return optimizer_class(leaves, lr=1.0, **(arguments or {}))
        except (TypeError, ValueError) as error:
            raise ConfigError("optimizer.arguments", arguments, f"refused by {path}: {error}") from error

    def init(params: Params) -> State:
        groups = make([Parameter(leaf[0].clone()) for leaf in params.values()]).state_dict()["param_groups"]
        return {"step": first_step(params, rate), "state": {}, "groups": groups}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        scale = grad.log_scale.exp() if gradient == "risk" else torch.ones_like(grad.log_scale)
        gradients = [per_member(scale, leaf) * leaf for leaf in grad.direction.values()]
        eta = rate(state["step"]).expand(len(scale)).tolist()
        moved, states = [], []
        for i in range(len(scale)):
            leaves = [Parameter(leaf[i].clone()) for leaf in params.values()]
            optimizer = make(leaves)
            groups = [group | {"lr": eta[i]} for group in state["groups"]]
            optimizer.load_state_dict({"state": _of_member(state["state"], i), "param_groups": groups})
            for leaf, own_gradient in zip(leaves, gradients, strict=True):
                leaf.grad = own_gradient[i].clone()
            optimizer.step()
            moved.append([leaf.detach() for leaf in leaves])
            states.append(optimizer.state_dict())
        new_params = dict(zip(params, map(torch.stack, zip(*moved, strict=True)), strict=True))
        return new_params, {
            "step": state["step"] + 1,
            "state": _stacked([own["state"] for own in states]),
            "groups": states[0]["param_groups"],
        }

    return UpdateRule(init, update)


def _optimizer_class(path: str) -> Callable[..., torch.optim.Optimizer]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("optimizer.path", path, f"cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise ConfigError("optimizer.path", path, "must be a subclass of torch.optim.Optimizer")
    return found


def _of_member(tree: Any, i: int) -> Any:
    if isinstance(tree, dict):
        return {key: _of_member(value, i) for key, value in tree.items()}
    return tree[i].clone() if isinstance(tree, Tensor) else tree


def _stacked(trees: list[Any]) -> Any:
    """Tensors get a members axis; what is not a tensor (a step count) is the same for all."""
    if isinstance(trees[0], dict):
        return {key: _stacked([tree[key] for tree in trees]) for key in trees[0]}
    return torch.stack(trees) if isinstance(trees[0], Tensor) else trees[0]
