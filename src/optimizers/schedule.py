"""Learning rates η_t = η0 ((t + t0)/t0)^{−a}, and the step θ ← θ − η_t u."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from src.constraints import Positive
from src.errors import ConfigError
from src.optimizers.log_scaled import per_member
from src.types import Params

Rate = Positive | list[Positive]
"""η0: one for all members, or one for each."""

Schedule = Callable[[Tensor], Tensor]
"""``step [..., M] -> η [..., M]`` in float64; the first step is step 0."""


def power_law(lr: Rate, *, exponent: float, t0: float, degree: float | None) -> Schedule:
    """Return η_t = η0 ((t + t0)/t0)^{−a}, with a the ``exponent``.

    The theorem (Gronich and Vardi, 2026, assumption on the learning rate) needs ∫η = ∞ and η(t) = o(t^{1/L−1}),
    that is 1 − 1/L < a ≤ 1 on a network of ``degree`` L. Warn outside that range.
    """
    if degree is not None and not 1 - 1 / degree < exponent <= 1:
        warnings.warn(
            f"optimizer.exponent={exponent:g} is outside the theorem's range: "
            f"> {1 - 1 / degree:.4g} and <= 1 for a network of degree {degree:g}",
            stacklevel=3,
        )

    def rate(step: Tensor) -> Tensor:
        members = step.shape[-1]
        if isinstance(lr, list) and len(lr) != members:
            raise ConfigError("optimizer.lr", lr, f"must be one number or {members}, one for each seed")
        base = torch.as_tensor(lr, dtype=torch.float64, device=step.device)
        return base * ((step.double() + t0) / t0) ** -exponent

    return rate


def scaled(lr: Rate, factor: float) -> Rate:
    """Return η0 multiplied by ``factor``."""
    return [factor * one for one in lr] if isinstance(lr, list) else factor * lr


def first_step(params: Params, rate: Schedule) -> Tensor:
    """Return the step counter at step 0, int64 ``[M]``.

    Raises:
        ConfigError: for a list of learning rates whose length is not M.
    """
    first = next(iter(params.values()))
    step = torch.zeros(len(first), dtype=torch.int64, device=first.device)
    rate(step)
    return step


def descend(params: Params, update: Params, eta: Tensor) -> Params:
    """Return θ − η u, with η ``[M]``."""
    return {name: torch.addcmul(leaf, per_member(eta, leaf), update[name], value=-1) for name, leaf in params.items()}


def times(factor: float, rate: Schedule) -> Schedule:
    """Return the schedule multiplied by ``factor``."""
    return lambda step: factor * rate(step)
