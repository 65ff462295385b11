"""Losses at which runs are compared, and steps of members that end at different times."""

import math

import pytest
import torch

from src.data import clusters
from src.models import two_layer_relu
from src.optimizers import nmd
from src.training import loop, objectives, stopping
from src.training.batches import build as batches_of
from tests.problems import network_problem
from tests.tnn_problems import problem

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


@pytest.mark.parametrize("criterion", [{"log_risk": -10.0}, {"slackness": 2.0}, {"flatness": 0.05}])
def test_members_that_have_ended_are_left_out_without_effect(criterion):
    """With a learning rate for each member all are computed to the end."""
    task = clusters.build([0, 1, 2], k=4, d=64, n=16, sigma=0.5)
    model = two_layer_relu.build(task, width=8)
    objective = objectives.exponential(task, model)
    stop = stopping.build(
        task, model, **{"slackness": None, "flatness": None, "log_risk": None, **criterion}, check_every=5
    )
    ends = []
    for lr in (0.3, [0.3, 0.3, 0.3]):
        rule = nmd.build(task, model, lr=lr)
        begin = loop.start(model.init([0, 1, 2]), rule, stop)
        *_, last = loop.train(begin, objective, rule, batches_of(task, [0, 1, 2], None), stop, 400, LEVELS)
        ends.append(last)
    assert ends[0].converged.all() and len(set(ends[0].own_steps.tolist())) > 1
    for name in ("own_steps", "levels", "passed_at"):
        assert torch.equal(getattr(ends[0], name), getattr(ends[1], name))
    torch.testing.assert_close(ends[0].params, ends[1].params)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_in_batches_a_member_ends_by_the_risk_on_the_whole_training_set(reduction):
    task, model, _ = network_problem(members=2)
    objective, rule = objectives.logistic(task, model, reduction=reduction), nmd.build(task, model, lr=0.5)
    examples = task.y.shape[-1]
    bound, size = math.log(0.4 * (examples if reduction == "sum" else 1)), examples // 2 + 1  # the second is smaller
    stop = stopping.build(task, model, slackness=None, flatness=None, log_risk=bound, check_every=5)
    whole, batches = batches_of(task, [0, 1], None)(0), batches_of(task, [0, 1], size)
    ended = torch.zeros(2, dtype=torch.bool)
    for one in loop.train(loop.start(model.init([0, 1]), rule, stop), objective, rule, batches, stop, 400, epoch=2):
        if one.step and one.step % 5 == 0:
            ended |= objective(one.params, whole)[0] <= bound
        assert torch.equal(one.converged, ended)
    assert ended.all()


def test_every_layer_of_a_t_nn_grows_equally_under_gradient_flow():
    """⟨W^l, ∇_l L⟩ is the same for every t-layer and the last one, at attacked inputs too."""
    task, model, params = problem(members=2, n=20, width=6)
    _, grad = objectives.adversarial(task, model, eps=0.05)(params, batches_of(task, [0, 1], None)(0))
    products = [(leaf * grad.direction[name]).flatten(1).sum(1) for name, leaf in params.items() if name != "b"]
    assert len(products) == 4
    for product in products[1:]:
        torch.testing.assert_close(product, products[0])
