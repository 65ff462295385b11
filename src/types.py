"""The vocabulary of the suite: read this file first.

Shapes: M members (trained together, one per seed), N examples, r input coordinates.
Every leaf of ``Params`` leads with the members axis, so one backward pass of the summed risks gives each
member its own gradient: the members share no parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

Params = dict[str, Tensor]
"""Parameters of all members: every leaf is ``[M, ...]``."""

State = dict[str, Any]
"""State of an update rule: a plain tree of tensors (dicts of dicts), so that it can be saved and resumed."""


class Task(NamedTuple):
    """Training and test set. Members share the inputs (``[N, ...]``) or have their own (``[M, N, ...]``).

    ``y`` holds labels ±1 with the shape of the leading axes of ``x``. ``facts`` are properties of the distribution
    that no learner sees: cluster means, labels of clusters, closed-form optima.
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    facts: dict[str, Any]


class Model(NamedTuple):
    """A network for M members.

    ``init(seeds)`` draws the parameters, ``apply(params, x)`` maps ``[N, ...]`` or ``[M, N, ...]`` to outputs
    ``[M, N]``. ``degree`` is L with ``apply(a·params, x) = a^L·apply(params, x)`` for a > 0, or None.
    """

    init: Callable[[Sequence[int]], Params]
    apply: Callable[[Params, Tensor], Tensor]
    degree: float | None


class ScaledGrad(NamedTuple):
    """A gradient that cannot underflow: ``exp(log_scale)·direction``, with ``log_scale`` ``[M]``."""

    direction: Params
    log_scale: Tensor


class UpdateRule(NamedTuple):
    """An optimizer as pure functions over explicit state.

    ``init(params) -> state``. ``update(params, state, log_risk, grad) -> (params, state)`` makes one step from
    the log-risk ``[M]`` and its gradient, both evaluated at ``params``. A rule never raises for a bad step.
    Rules that may reject a step return the last accepted parameters from ``accepted_params``; measurements use these.
    ``rate`` maps step numbers ``[..., M]`` to the learning rates η ``[..., M]``, for rules whose steps are η_t u_t; in
    the rule's own norm where its layers have different ones.
    """

    init: Callable[[Params], State]
    update: Callable[[Params, State, Tensor, ScaledGrad], tuple[Params, State]]
    accepted_params: Callable[[Params, State], Params] = lambda params, state: params
    rate: Callable[[Tensor], Tensor] | None = None


class Batch(NamedTuple):
    """The examples of one step; the whole training set for gradient flow."""

    x: Tensor
    y: Tensor


Objective = Callable[[Params, Batch], tuple[Tensor, ScaledGrad]]
"""``(params, batch) -> (log_risk [M], gradient of the risk)``."""


class Move(NamedTuple):
    """The next step of a rule, in float64: θ_t, u_t = (θ_{t+1} − θ_t)/η_t, ∇ log L(θ_t), η_t and Σ_{s<t} η_s."""

    params: Params
    direction: Params
    gradient: Params
    eta: Tensor
    length: Tensor


class Snapshot(NamedTuple):
    """Parameters and log-risk ``[M]`` at one step, the argument of measurements.

    ``move()`` returns the next step, or None for a rule without learning rates.
    """

    step: int
    params: Params
    log_risk: Tensor
    move: Callable[[], Move | None] = lambda: None


Measurement = Callable[[Snapshot], Mapping[str, Tensor]]
"""``snapshot -> {name: [M] or, for a curve, [M, K]}``."""
