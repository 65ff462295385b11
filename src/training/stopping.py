"""Convergence criteria of members, and the steps at which to measure. Running out of steps is not convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.types import Model, Snapshot, State, Task


class StopRule(NamedTuple):
    """Criterion of every ``check_every`` steps: ``update(snapshot, state) -> (converged [M], state)``, a plain tree.

    ``of_risk`` is whether it depends on the risk, which is then that on the whole training set, not on a batch;
    ``of_margins`` is whether it depends on the margins, which it computes for all members of the task.
    """

    init: Callable[[int], State]
    update: Callable[[Snapshot, State], tuple[Tensor, State]]
    check_every: int
    of_risk: bool = False
    of_margins: bool = False


def build(
    task: Task,
    model: Model,
    *,
    slackness: float | None,
    flatness: float | None,
    log_risk: float | None,
    check_every: int,
) -> StopRule:
    """Build a rule by which a member has converged when every criterion that is not None holds.

    Args:
        task: its training set is that of the margins.
        model: homogeneous of degree L.
        slackness: bound on Σ p_i (q_i/q_min − 1), the complementary slackness of the multipliers p = softmax(−q) of
            gradient flow.
        flatness: bound on the relative rise of the smoothed margin −log Σ e^{−q} / ‖θ‖^L since the previous check.
        log_risk: upper bound on the log of the risk on the training set.
        check_every: steps between checks.
    """

    any_criterion = any(criterion is not None for criterion in (slackness, flatness, log_risk))
    needs_margins = slackness is not None or flatness is not None  # costly: one pass over the training set

    def init(members: int) -> State:
        return {"smoothed_margin": torch.full((members,), -torch.inf, dtype=task.x.dtype, device=task.x.device)}

    def update(snapshot: Snapshot, state: State) -> tuple[Tensor, State]:
        converged = torch.full_like(snapshot.log_risk, any_criterion, dtype=torch.bool)
        if log_risk is not None:
            converged &= snapshot.log_risk <= log_risk
        if not needs_margins:
            return converged, state
        q = task.y * model.apply(snapshot.params, task.x)
        q_min = q.min(-1).values
        norm_squared = sum(leaf.flatten(1).square().sum(1) for leaf in snapshot.params.values())
        # γ̃ = −log Σ e^{−q} / ‖θ‖^L
        smoothed = -(-q).logsumexp(-1) / norm_squared ** ((model.degree or 0) / 2)
        if slackness is not None:
            p = torch.softmax(-q, -1)
            converged &= (q_min > 0) & ((p * q).sum(-1) <= (1 + slackness) * q_min)
        if flatness is not None:
            before = state["smoothed_margin"]
            converged &= (before > 0) & (smoothed <= (1 + flatness) * before)
        return converged, {"smoothed_margin": smoothed}

    return StopRule(init, update, check_every, of_risk=log_risk is not None, of_margins=needs_margins)


def measured(steps: int, log_points: int | Sequence[float]) -> set[int]:
    """Return the steps to measure at: a number of ``log_spaced`` ones, or those at listed fractions of the budget.

    >>> sorted(measured(2000, [0, 0.2105, 0.5]))
    [0, 421, 1000]
    """
    if isinstance(log_points, int):
        return log_spaced(steps, log_points)
    return {round(share * steps) for share in log_points}


def log_spaced(steps: int, count: int) -> set[int]:
    """Return about ``count`` log-spaced steps in [0, steps] with both ends; a ``count`` of 1 gives the last step.

    >>> sorted(log_spaced(1000, 5))
    [0, 1, 6, 32, 178, 1000]
    """
    if steps == 0 or count < 3:
        return {0, steps} if count > 1 else {steps}
    return {0, steps} | {round(math.exp(math.log(steps) * i / (count - 1))) for i in range(count - 1)}
