"""Optimizers: ``optimizers.NAME(lr=…)``, passed to ``train``.

Learning rates are η₀ in η_t = η₀ ((t + t0)/t0)^−exponent, in units of the optimizer's norm; one number, or a list with
one for each seed. The first argument of other optimizers, a function ``(task, model) -> UpdateRule``, is your own rule.

>>> from src.api import optimizers
>>> dir(optimizers)  # doctest: +ELLIPSIS
['adam', 'adamw', 'gd', 'lion', ..., 'torch', 'torch_optimizer']
>>> rule = optimizers.muon(lr=0.6, momentum=0.9)
>>> optimizers.muon(lr=-1)
Traceback (most recent call last):
src.errors.ConfigError: optimizer.lr=-1: must be a number > 0 or a list, each a number > 0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch.optim import Optimizer

from src.api import parts
from src.optimizers.schedule import Rate, power_law
from src.optimizers.torch_optimizer import from_class
from src.types import Model, Task, UpdateRule

__getattr__, _names = parts.of_group("optimizer")


def __dir__() -> list[str]:
    return sorted([*_names(), "torch"])


def torch(
    optimizer: type[Optimizer],
    *,
    lr: Rate,
    exponent: float = 0.8,
    t0: float = 1.0,
    gradient: Literal["risk", "log_risk"] = "risk",
    **arguments: Any,
) -> Callable[[Task, Model], UpdateRule]:
    """Return a class of optimizers as a rule; the members are updated one after the other.

    Args:
        optimizer: a subclass of ``torch.optim.Optimizer`` whose ``step()`` needs no closure.
        lr: η₀ in η_t = η₀ ((t + t0)/t0)^−exponent, as for all optimizers.
        exponent: 0 for a constant learning rate.
        t0: shift of the schedule, in steps.
        gradient: pass ∇L to the class, or ∇ log L, which does not vanish with the loss.
        arguments: keyword arguments of the class.

    Raises:
        ConfigError: for a class whose steps need a closure, or, in ``train``, one that rejects its arguments.

    >>> from torch.optim import LBFGS, SGD
    >>> from src.api import optimizers
    >>> rule = optimizers.torch(SGD, lr=0.1, momentum=0.9)
    >>> optimizers.torch(LBFGS, lr=1)
    Traceback (most recent call last):
    src.errors.ConfigError: optimizer.path=LBFGS: has a step() that needs a closure, and it is called without one
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=None)
    rule = from_class(optimizer, optimizer.__name__, rate, arguments, gradient)
    return lambda task, model: rule
