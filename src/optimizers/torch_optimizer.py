"""Any ``torch.optim.Optimizer`` class by its import path, from torch or from your own module.

Limitations against the rules of this package: members are updated one after the other. The gradient vanishes with the
loss (and is zero below a loss of 1e-308), so a constant ε, a clamp or a float32 buffer of the class changes the
algorithm. No ``closure`` is passed, so L-BFGS is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from src import cli
from src.constraints import NonNegative, Positive
from src.errors import ConfigError
from src.optimizers.log_scaled import per_member
from src.optimizers.schedule import Rate, Schedule, first_step, power_law
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

NEEDED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Kinds of parameters that a call must give if they have no default."""


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether the class is SGD, the only one of ``torch.optim`` that commutes for all arguments."""
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
    """Build the class ``path``; see :func:`from_class`.

    Args:
        task: not used.
        model: as in ``from_class``.
        path: for example ``torch.optim.Muon``, or a class of a module on your Python path.
        arguments: keyword arguments of the class, without ``params`` and ``lr``.
        lr: as in ``steepest.build``, like ``exponent`` and ``t0``.
        gradient: as in ``from_class``.
        exponent: 0 for a constant learning rate.
        t0: shift of the schedule, in steps.

    Raises:
        ConfigError: as ``from_class``, and for a path that is no class of optimizers.
    """
    optimizer_class = cli.imported(path, "optimizer.path")
    if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)):
        raise ConfigError("optimizer.path", path, "must be a subclass of torch.optim.Optimizer")
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return from_class(optimizer_class, path, rate, arguments or {}, gradient)


def from_class(
    optimizer_class: type[torch.optim.Optimizer],
    name: str,
    rate: Schedule,
    arguments: Mapping[str, Any],
    gradient: Literal["risk", "log_risk"] = "risk",
) -> UpdateRule:
    """Build ``optimizer_class(params, lr=η_t, **arguments)`` with the learning rate set before every step.

    Args:
        optimizer_class: its ``step`` is called without arguments.
        name: of the class, for errors.
        rate: η_t.
        arguments: keyword arguments of the class, without ``params`` and ``lr``.
        gradient: pass ∇L, or ∇ log L, which does not vanish with the loss.

    Raises:
        ConfigError: for a class whose steps need a closure, or, from ``init``, one that rejects the arguments or the
            shapes of the parameters.
    """
    step = inspect.signature(optimizer_class.step).parameters
    if any(name != "self" and one.default is one.empty and one.kind in NEEDED for name, one in step.items()):
        # as in L-BFGS, whose steps evaluate the loss several times
        raise ConfigError("optimizer.path", name, "has a step() that needs a closure, and it is called without one")

    def make(leaves: list[Parameter]) -> torch.optim.Optimizer:
        try:
            return optimizer_class(leaves, lr=1.0, **arguments)  # type: ignore[call-arg]
        except (TypeError, ValueError) as error:
            raise ConfigError("optimizer.arguments", dict(arguments), f"rejected by {name}: {error}") from error

    def init(params: Params) -> State:
        groups = make([Parameter(leaf[0].clone()) for leaf in params.values()]).state_dict()["param_groups"]
        return {"step": first_step(params, rate), "state": {}, "groups": groups}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        scale = grad.log_scale.exp() if gradient == "risk" else torch.ones_like(grad.log_scale)
        gradients = [per_member(scale, leaf) * leaf for leaf in grad.direction.values()]
        eta = rate(state["step"]).expand(len(scale)).tolist()
        updated, states = [], []
        for i in range(len(scale)):
            leaves = [Parameter(leaf[i].clone()) for leaf in params.values()]
            optimizer = make(leaves)
            groups = [group | {"lr": eta[i]} for group in state["groups"]]
            optimizer.load_state_dict({"state": _of_member(state["state"], i), "param_groups": groups})
            for leaf, leaf_gradient in zip(leaves, gradients, strict=True):
                leaf.grad = leaf_gradient[i].clone()
            optimizer.step()
            updated.append([leaf.detach() for leaf in leaves])
            states.append(optimizer.state_dict())
        new_params = dict(zip(params, map(torch.stack, zip(*updated, strict=True)), strict=True))
        return new_params, {
            "step": state["step"] + 1,
            "state": _stacked([member["state"] for member in states]),
            "groups": states[0]["param_groups"],
        }

    return UpdateRule(init, update)


def _of_member(tree: Any, i: int) -> Any:
    if isinstance(tree, dict):
        return {key: _of_member(value, i) for key, value in tree.items()}
    return tree[i].clone() if isinstance(tree, Tensor) else tree


def _stacked(trees: list[Any]) -> Any:
    """Stack tensors along a members axis; take other leaves (a step count), equal for all, from the first tree."""
    if isinstance(trees[0], dict):
        return {key: _stacked([tree[key] for tree in trees]) for key in trees[0]}
    return torch.stack(trees) if isinstance(trees[0], Tensor) else trees[0]
