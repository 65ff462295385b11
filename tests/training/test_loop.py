"""Losses at which runs are compared, and steps of members that end at different times."""

import math

import torch

from src.optimizers import nmd
from src.training import loop, objectives, stopping
from src.training.batches import build as batches_of
from tests.problems import network_problem

LEVELS = [math.log(loss) for loss in (10, 1, 0.1, 0.01)]


def path(log_risk=None, steps=400):
    task, model, _ = network_problem(members=3)
    objective = objectives.exponential(task, model, reduction="sum")
    rule = nmd.build(task, model, lr=[2.0, 1.0, 0.5])
    stop = stopping.build(task, model, slackness=None, flatness=None, log_risk=log_risk, check_every=10)
    seeds = [0, 1, 2]
    begin = loop.start(model.init(seeds), rule, stop)
    batches = batches_of(task, seeds, None)
    progress = [*loop.train(begin, objective, rule, batches, stop, steps, log_risk_levels=LEVELS)]
    return progress, [objective(one.params, batches(one.step))[0] for one in progress]


def test_a_level_is_passed_at_the_first_step_at_or_below_it():
    progress, log_risks = path()
    for member in range(3):
        losses = torch.stack(log_risks)[1:, member]
        passed = {level: int((losses <= level).nonzero()[0]) + 1 for level in LEVELS if (losses <= level).any()}
        assert len(passed) >= 2
        for step, one in enumerate(progress):
            reached = [level for level, at in passed.items() if at <= step]
            assert int(one.levels[member]) == len(reached)
            assert int(one.passed_at[member]) == (max(passed[level] for level in reached) if reached else -1)


def test_a_member_counts_its_own_steps_and_keeps_its_parameters():
    progress, _ = path(log_risk=LEVELS[1])
    last = progress[-1]
    ended = [next(one.step for one in progress if one.ended[member]) for member in range(3)]
    assert last.own_steps.tolist() == ended
    assert len(set(ended)) > 1
    for member, step in enumerate(ended):
        for name, leaf in last.params.items():
            assert torch.equal(leaf[member], progress[step].params[name][member])
