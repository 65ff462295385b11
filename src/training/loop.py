"""The only training loop of the suite.

It writes and prints nothing: it yields its ``Progress`` after every step; ``cell.py`` measures, records and saves.
One ``Progress`` is all that is needed to resume a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.errors import ConfigError
from src.optimizers.log_scaled import per_member
from src.training.stopping import StopRule
from src.types import Batch, Move, Objective, Params, Snapshot, State, UpdateRule


class Progress(NamedTuple):
    """State of training: all that determines the further steps.

    ``own_steps`` ``[M]`` counts the steps of a member up to its end. ``converged`` and ``diverged`` are ``[M]``.
    ``levels`` ``[M]`` counts the losses at which runs are compared that a member has passed, and ``passed_at`` ``[M]``
    is the step at which it passed the last of them, −1 before the first. ``epoch_risk`` ``[M]`` is the running mean,
    over the steps of an epoch, of the risk on the batch before the step; NaN without batches.
    """

    step: int
    params: Params
    rule_state: State
    stop_state: State
    own_steps: Tensor
    converged: Tensor
    diverged: Tensor
    levels: Tensor
    passed_at: Tensor
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
    none, never = torch.zeros(members, dtype=torch.int64, device=device), torch.full((members,), -1, device=device)
    nan = torch.full((members,), torch.nan, dtype=torch.float64, device=device)
    return Progress(0, params, rule.init(params), stop.init(members), none, no, no, none, never, epoch_risk=nan)


def train(
    progress: Progress,
    objective: Objective,
    rule: UpdateRule,
    batches: Batches,
    stop: StopRule,
    steps: int,
    log_risk_levels: Sequence[float] = (),
    epoch: int | None = None,
) -> Iterator[Progress]:
    """Yield ``progress`` itself, then the progress after every step until ``steps`` or until all members have ended.

    A member that has ended keeps its parameters, so its numbers do not depend on the other members; where the rule
    allows it, it is no longer computed. A member passes a level of ``log_risk_levels``, which descend, at the first
    step with a log-risk at or below it. ``epoch`` is the number of steps of an epoch, None without batches.
    """
    yield progress
    separable = _separable(rule, stop, epoch)
    whole, running = progress, torch.arange(len(progress.ended), device=progress.ended.device)
    log_risk, grad = objective(progress.params, batches(progress.step))
    levels = torch.tensor(log_risk_levels, dtype=log_risk.dtype, device=log_risk.device)
    while not over(progress, steps):
        if separable and bool(progress.ended.any()):  # from here on, all is of the running members
            whole = tree_map(partial(_inserted, running), progress, whole)
            left = (~progress.ended).nonzero().squeeze(-1)
            progress, log_risk, grad = tree_map(partial(_taken, left), (progress, log_risk, grad))
            running, batches = running[left], _of_members(batches, left)
        epoch_risk = progress.epoch_risk
        if epoch is not None:
            epoch_risk = _averaged(epoch_risk, log_risk.double().exp(), progress.step % epoch)
        moved = rule.update(progress.params, progress.rule_state, log_risk, grad)
        if bool(progress.ended.any()):
            moved = tree_where(progress.ended, (progress.params, progress.rule_state), moved)
        progress = progress._replace(
            step=progress.step + 1,
            params=moved[0],
            rule_state=moved[1],
            own_steps=progress.own_steps + ~progress.ended,
            epoch_risk=epoch_risk,
        )
        log_risk, grad = objective(progress.params, batches(progress.step))
        if log_risk_levels:
            progress = _passing(progress, log_risk, levels)
        if progress.step % stop.check_every == 0 or progress.step == steps:
            view = snapshot(progress, objective, rule, batches)
            progress = progress._replace(diverged=progress.diverged | ~view.log_risk.isfinite())
            if progress.step % stop.check_every == 0:  # not at the last step: rules compare with the previous check
                if stop.of_risk and epoch is not None:
                    view = view._replace(log_risk=_training_log_risk(view.params, objective, batches, epoch))
                converged, stop_state = stop.update(view, progress.stop_state)
                converged = progress.converged | converged & ~progress.diverged
                progress = progress._replace(converged=converged, stop_state=stop_state)
        yield progress if len(running) == len(whole.ended) else tree_map(partial(_inserted, running), progress, whole)


def _separable(rule: UpdateRule, stop: StopRule, epoch: int | None) -> bool:
    """Return whether ended members can be left out.

    They cannot with a learning rate for each, nor from margins on the data of all members or means over epochs.
    """
    if rule.rate is None or stop.of_margins or epoch is not None:
        return False
    try:
        rule.rate(torch.zeros(1))
    except ConfigError:  # a list of learning rates
        return False
    return True


def _of_members(batches: Batches, members: Tensor) -> Batches:
    """Return the batches of some members, where every step has the whole training set."""
    whole = batches(0)
    part = whole if whole.y.ndim == 1 else Batch(whole.x[members], whole.y[members])
    return lambda step: part


def _taken(members: Tensor, whole: Tensor) -> Tensor:
    """Return the members' part of a leaf ``[M, ...]``; scalars are shared."""
    return whole[members] if whole.ndim else whole


def _inserted(members: Tensor, part: Tensor, whole: Tensor) -> Tensor:
    """Return ``whole [M, ...]`` with ``part [K, ...]`` in the places of ``members [K]``; scalars are shared."""
    return whole.index_copy(0, members, part) if part.ndim else part


def _passing(progress: Progress, log_risk: Tensor, log_risk_levels: Tensor) -> Progress:
    """Return the progress with the levels ``[K]`` that members pass at this step."""
    levels = (log_risk.unsqueeze(-1) <= log_risk_levels).sum(-1)
    passed_at = torch.where(levels > progress.levels, progress.step, progress.passed_at)
    return progress._replace(levels=torch.maximum(levels, progress.levels), passed_at=passed_at)


def _training_log_risk(params: Params, objective: Objective, batches: Batches, epoch: int) -> Tensor:
    """Return the log-risk on the whole training set, from the batches of the first epoch."""
    parts = [batches(step) for step in range(epoch)]
    log_risks = [objective(params, part)[0] for part in parts]
    if _is_sum(log_risks[0], objective, params, parts[0]):
        return torch.stack(log_risks).logsumexp(0)
    sums = [log_risk + math.log(part.y.shape[-1]) for log_risk, part in zip(log_risks, parts, strict=True)]
    return torch.stack(sums).logsumexp(0) - math.log(sum(part.y.shape[-1] for part in parts))


def _is_sum(log_risk: Tensor, objective: Objective, params: Params, batch: Batch) -> bool:
    """Return whether the risk is a sum over the examples, not a mean: only a sum grows if every example comes twice."""
    axis = batch.y.ndim - 1
    twice, _ = objective(params, Batch(*(torch.cat([leaf, leaf], axis) for leaf in batch)))
    return bool(((twice - log_risk) > math.log(2) / 2).any())


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
    return Snapshot(progress.step, params, log_risk, lambda: _next_move(progress, objective, rule, batches))


def _next_move(progress: Progress, objective: Objective, rule: UpdateRule, batches: Batches) -> Move | None:
    """Return the next step of the rule in float64, as θ_{t+1} − θ_t has few digits left in float32."""
    if rule.rate is None:
        return None
    double = partial(tree_map, lambda leaf: leaf.double() if leaf.is_floating_point() else leaf)
    params, state, batch = double((progress.params, progress.rule_state, tuple(batches(progress.step))))
    log_risk, grad = objective(params, Batch(*batch))
    ahead, _ = rule.update(params, state, log_risk, grad)
    steps, past = progress.own_steps, torch.arange(progress.step, device=progress.own_steps.device)[:, None]
    # Σ_{s<t} η_s with a t of its own for each member
    length = (rule.rate(past.expand(-1, len(steps))) * (past < steps)).sum(0)
    eta = rule.rate(steps)
    direction = {name: (ahead[name] - leaf) / per_member(eta, leaf) for name, leaf in params.items()}
    return Move(params, direction, grad.direction, eta, length)


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
