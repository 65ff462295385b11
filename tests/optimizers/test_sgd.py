"""SGD, gradient-flow time, the proximal step, and the projection on balls."""

import pytest
import torch

from src.errors import ConfigError
from src.optimizers import gd, sgd
from src.optimizers.sgd import layer_norms
from src.tensors import spectra
from src.training.loop import tree_where
from src.training.objectives import adversarial, logistic
from src.types import Batch
from tests.problems import distance, network_problem, train
from tests.tnn_problems import problem


def test_is_gradient_descent_with_the_true_gradient():
    task, model, risk = network_problem()
    params = model.init([0, 1])
    ours, _ = train(sgd.build(task, model, lr=0.2), risk, task, params, 20)
    theirs, _ = train(gd.build(task, model, lr=0.2), risk, task, params, 20)
    assert distance(ours, theirs) < 1e-13


def test_half_the_step_and_twice_the_steps_is_the_same_flow():
    task, model, params = problem(n=20)
    objective, ends = logistic(task, model), []
    for lr, steps in ((0.02, 50), (0.01, 100), (0.005, 200)):
        ends.append(train(sgd.build(task, model, lr=lr), objective, task, params, steps)[0])
    assert distance(ends[2], ends[1]) < 0.6 * distance(ends[1], ends[0]) < 0.6 * 1e-3


@pytest.mark.parametrize("options", [{}, {"coordinates": "original"}, {"transform": "dft"}])
def test_proximal_steps_make_layers_exactly_of_low_rank(options):
    task, model, params = problem(members=2, n=20, **options)
    objective = logistic(task, model)

    def ranks(rule, steps):
        after, _ = train(rule, objective, task, params, steps)
        layers = model.layers(model.hat(after))
        return [spectra.tubal_rank(spectra.singular_values(hat), 1e-12) for hat in layers.values()]

    free, penalised = sgd.build(task, model, lr=0.1), sgd.build(task, model, lr=0.1, tubal_nuclear=0.03)
    assert all((rank == 5 + (i > 0)).all() for i, rank in enumerate(ranks(free, 100)))
    assert all((rank < 5).all() for rank in ranks(penalised, 100))


def test_proximal_step_every_k_takes_k_times_the_threshold():
    task, model, params = problem()
    nothing = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
    zero = logistic(task, model)(params, Batch(task.x, task.y))[1]._replace(direction=nothing)

    def after(rule, steps):
        moved, state = params, rule.init(params)
        for _ in range(steps):
            moved, state = rule.update(moved, state, zero.log_scale, zero)
        return torch.linalg.svdvals(moved["w1"])

    often = after(sgd.build(task, model, lr=0.1, tubal_nuclear=0.05, proximal_every=1), 4)
    seldom = after(sgd.build(task, model, lr=0.1, tubal_nuclear=0.05, proximal_every=4), 4)
    torch.testing.assert_close(often, seldom)
    torch.testing.assert_close(often, (torch.linalg.svdvals(params["w1"]) - 4 * 0.1 * 0.05 * model.scale).clamp(min=0))


@pytest.mark.parametrize("rank", [None, 2])
def test_layers_stay_in_their_balls(rank):
    task, model, params = problem(members=2, n=20, rank=rank)
    objective = adversarial(task, model, eps=0.01)
    norms = layer_norms(model, params)
    ball = float(torch.stack(list(norms.values())).median())
    after, _ = train(sgd.build(task, model, lr=0.3, ball=ball), objective, task, params, 10)
    ends = torch.stack(list(layer_norms(model, after).values()))
    assert (ends <= ball * (1 + 1e-12)).all() and (ends > 0.999 * ball).any() and (ends < 0.999 * ball).any()


def test_rejects_options_without_suitable_layers():
    task, model, _ = network_problem()
    factored, authors = problem(rank=2)[1], problem(transform="authors")[1]
    for network in (model, factored, authors):
        with pytest.raises(ConfigError, match=r"optimizer\.tubal_nuclear=0\.1"):
            sgd.build(task, network, tubal_nuclear=0.1)
    for network in (model, authors):
        with pytest.raises(ConfigError, match=r"optimizer\.ball=1"):
            sgd.build(task, network, ball=1.0)


def test_proximal_steps_do_not_depend_on_members_that_have_ended():
    task, model, params = problem(members=2)
    nothing = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
    zero = logistic(task, model)(params, Batch(task.x, task.y))[1]._replace(direction=nothing)
    rule = sgd.build(task, model, lr=0.01, tubal_nuclear=0.5, proximal_every=2)

    def second_layer_one(ends_at):
        moved, state = params, rule.init(params)
        for step in range(20):
            ended = torch.tensor([step >= ends_at, False])
            new = rule.update(moved, state, zero.log_scale, zero)
            moved, state = tree_where(ended, (moved, state), new)
        return moved["w1"][1]

    never, early = second_layer_one(20), second_layer_one(5)
    assert torch.equal(early, never) and never.norm() < params["w1"][1].norm()


def test_a_diverged_member_does_not_affect_proximal_steps():
    task, model, params = problem(members=2)
    rule = sgd.build(task, model, lr=0.01, tubal_nuclear=0.5, proximal_every=1)
    broken = {name: torch.stack([leaf[0], torch.full_like(leaf[1], torch.nan)]) for name, leaf in params.items()}
    grad = logistic(task, model)(params, Batch(task.x, task.y))[1]
    moved, _ = rule.update(broken, rule.init(broken), grad.log_scale, grad)
    expected, _ = rule.update(params, rule.init(params), grad.log_scale, grad)
    assert all(torch.equal(moved[name][0], leaf[0]) for name, leaf in expected.items())
