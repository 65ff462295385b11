"""The only training loop of the suite.

It writes and prints nothing: it yields its ``Progress`` after every step; ``cell.py`` measures, records and saves.
One ``Progress`` is all that is needed to resume a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.training.stopping import StopRule
from src.types import Batch, Objective, Params, Snapshot, State, UpdateRule


class Progress(NamedTuple):
    """State of training: all that determines the further steps.

    ``converged`` and ``diverged`` are ``[M]``; ``matched_at`` ``[M]`` is the first step at the loss at which runs are
    compared, −1 before it. ``epoch_risk`` ``[M]`` is the running mean, over the steps of an epoch, of the risk on the
    batch before the step; NaN without batches.
    """

    step: int
    params: Params
    rule_state: State
    stop_state: State
    converged: Tensor
    diverged: Tensor
    matched_at: Tensor
    epoch_risk: Tensor

    @property
    def ended(self) -> Tensor:
        """``[M]``: whether training of a member has ended."""
        return self.converged | self.diverged


Batches = Callable[[int], Batch]
"""``step -> batch``: a function of the step alone, so that a resumed run sees the same examples."""


def start(params: Params, rule: UpdateRule, stop: StopRule) -> Progress:
    """Return the progress at step 0."""
    members = len(next(iter(params.values())))
    device = next(iter(params.values())).device
    no = torch.zeros(members, dtype=torch.bool, device=device)
    never = torch.full((members,), -1, device=device)
    nan = torch.full((members,), torch.nan, dtype=torch.float64, device=device)
    return Progress(0, params, rule.init(params), stop.init(members), no, no, matched_at=never, epoch_risk=nan)


def train(
    progress: Progress,
    objective: Objective,
    rule: UpdateRule,
    batches: Batches,
    stop: StopRule,
    steps: int,
    matched_log_risk: float = -math.inf,
    epoch: int | None = None,
) -> Iterator[Progress]:
    """Yield ``progress`` itself, then the progress after every step until ``steps`` or until all members have ended.

    A member that has ended keeps its parameters, so its numbers do not depend on the other members. ``matched_at`` is
    the first step with a log-risk at or below ``matched_log_risk``. ``epoch`` is the number of steps of an epoch, None
    without batches.
    """
    yield progress
    if over(progress, steps):
        return
    log_risk, grad = objective(progress.params, batches(progress.step))
    while not over(progress, steps):
        epoch_risk = progress.epoch_risk
        if epoch is not None:
            epoch_risk = _averaged(epoch_risk, log_risk.double().exp(), progress.step % epoch)
        moved = rule.update(progress.params, progress.rule_state, log_risk, grad)
        if bool(progress.ended.any()):
            moved = tree_where(progress.ended, (progress.params, progress.rule_state), moved)
        progress = progress._replace(
            step=progress.step + 1, params=moved[0], rule_state=moved[1], epoch_risk=epoch_risk
        )
        log_risk, grad = objective(progress.params, batches(progress.step))
        newly = (progress.matched_at < 0) & (log_risk <= matched_log_risk)
        progress = progress._replace(matched_at=torch.where(newly, progress.step, progress.matched_at))
        if progress.step % stop.check_every == 0 or progress.step == steps:
            view = snapshot(progress, objective, rule, batches)
            progress = progress._replace(diverged=progress.diverged | ~view.log_risk.isfinite())
            if progress.step % stop.check_every == 0:  # not at the last step: rules compare with the previous check
                converged, stop_state = stop.update(view, progress.stop_state)
                converged = progress.converged | converged & ~progress.diverged
                progress = progress._replace(converged=converged, stop_state=stop_state)
        yield progress


def _averaged(mean: Tensor, new: Tensor, count: int) -> Tensor:
    """Return the mean of ``count`` numbers and a new one."""
    return mean + (new - mean) / (count + 1) if count else new


def over(progress: Progress, steps: int) -> bool:
    """Return whether the step budget is exhausted or every member has ended."""
    return progress.step >= steps or bool(progress.ended.all())


def snapshot(progress: Progress, objective: Objective, rule: UpdateRule, batches: Batches) -> Snapshot:
    """Return the accepted parameters and their log-risk."""
    params = rule.accepted_params(progress.params, progress.rule_state)
    log_risk, _ = objective(params, batches(progress.step))
    return Snapshot(progress.step, params, log_risk)


def tree_map(of: Callable[..., Tensor], *trees: Any) -> Any:
    """Return ``of`` the tensors at every place of trees of one shape; other leaves are those of the first tree."""
    first = trees[0]
    if isinstance(first, dict):
        return {key: tree_map(of, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, tuple):
        parts = [tree_map(of, *leaves) for leaves in zip(*trees, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return of(*trees) if isinstance(first, Tensor) else first


def tree_where(mask: Tensor, old: Any, new: Any) -> Any:
    """Return ``old`` for the members in ``mask`` ``[M]`` and ``new`` for the others, for every leaf of a tree.

    Leaves lead with the members axis; scalars (a step counter) are shared and taken from ``new``.
    """

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), old, new) if new.ndim else new

    return tree_map(choose, new, old)
