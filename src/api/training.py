"""Train networks, and the result that measurements take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from src.training import batches, loop, objectives, stopping
from src.types import Model, Objective, Snapshot, Task, UpdateRule


class Trained(NamedTuple):
    """Networks of M seeds and what they were trained on; ``snapshots`` are the measured steps, the last one last."""

    task: Task
    model: Model
    snapshots: tuple[Snapshot, ...]

    @property
    def snapshot(self) -> Snapshot:
        """The last measured step: ``step``, ``params`` (leaves ``[M, ...]``) and ``log_risk`` ``[M]``."""
        return self.snapshots[-1]

    @property
    def moments(self) -> list[Trained]:
        """A result for every measured step, for curves."""
        return [self._replace(snapshots=(snapshot,)) for snapshot in self.snapshots]

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs ``[M, N]`` at inputs ``[N, ...]``, shared by the networks, or ``[M, N, ...]``."""
        return self.model.apply(self.snapshot.params, x)


def train(
    task: Task,
    model: Model,
    objective: Callable[[Task, Model], Objective],
    rule: Callable[[Task, Model], UpdateRule],
    *,
    steps: int = 2000,
    until_loss: float | None = None,
    batch_size: int | None = None,
    log_points: int | Sequence[float] = 1,
    seeds: Sequence[int] | None = None,
) -> Trained:
    """Train one network per seed, all at once.

    Args:
        task: from ``data``.
        model: from ``models``.
        objective: from ``objectives``, or a function ``(task, model) -> Objective``.
        rule: from ``optimizers``, or a function ``(task, model) -> UpdateRule``.
        steps: step budget.
        until_loss: end a network whose risk on the training set is at most this, checked every 100 steps.
        batch_size: examples per step; None: all.
        log_points: number of measured steps, log-spaced; or a list of fractions of the budget. The last step always is.
        seeds: of the initial weights and batches, ``[M]``; None: those of the data.

    Returns:
        The networks, also those that diverged: their ``log_risk`` is not finite.

    >>> from src.api import data, models, objectives, optimizers
    >>> task = data.separable(seeds=[0, 1, 2], shape=[5], n=12)
    >>> result = train(task, models.mlp(task), objectives.logistic(), optimizers.nmd(lr=1), steps=100, log_points=4)
    >>> print(*(snapshot.step for snapshot in result.snapshots))
    0 1 5 22 100
    >>> result.snapshot.log_risk.exp().max() < 1e-3
    tensor(True)
    """
    seeds = _seeds(task) if seeds is None else list(seeds)
    risk, update = objective(task, model), rule(task, model)
    bound = None if until_loss is None else math.log(until_loss)
    stop = stopping.build(task, model, slackness=None, flatness=None, log_risk=bound, check_every=100)
    examples, epoch = batches.build(task, seeds, batch_size), batches.steps_of_epoch(task, batch_size)
    begin = loop.start(model.init(seeds), update, stop)
    measured = stopping.measured(steps, log_points)
    snapshots = [
        loop.snapshot(progress, risk, update, examples)
        for progress in loop.train(begin, risk, update, examples, stop, steps, epoch=epoch)
        if progress.step in measured or loop.over(progress, steps)
    ]
    return Trained(task, model, tuple(snapshots))


def initial(task: Task, model: Model, seeds: Sequence[int] | None = None) -> Trained:
    """Return the networks as they are initialised: a module that you have trained elsewhere, or step 0.

    Their ``log_risk`` is that of the logistic loss.

    >>> import torch
    >>> from src.api import data, measurements, models
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> task = data.tensors(torch.eye(2), [1, -1])
    >>> margins = measurements.norm_margins(initial(task, models.module(task, net)), norms=["l2", "linf"])
    >>> margins["gamma_l2"], margins["gamma_linf"]
    (tensor([-0.8000], dtype=torch.float64), tensor([-1.], dtype=torch.float64))
    """
    params = model.init(_seeds(task) if seeds is None else list(seeds))
    log_risk, _ = objectives.logistic(task, model)(params, batches.build(task, [], None)(0))
    return Trained(task, model, (Snapshot(0, params, log_risk),))


def _seeds(task: Task) -> list[int]:
    """Return the seeds of a task from ``src.api.data``, or 0, 1, … for any other one."""
    if "members" in task.facts:
        return task.facts["members"].tolist()
    return list(range(len(task.y) if task.y.ndim == 2 else 1))
