"""Training steps of the two released experiments, against the NumPy twin and against the released code itself.

Experiment A.2: SGD on the loss at FGSM images. Experiment A.1: Adam on clean plus FGSM loss, low-rank factors.
"""

import pytest
import torch

from src.optimizers import adam, sgd
from src.training.objectives import adversarial, logistic
from src.types import Batch
from tests import released_code, tnn_twin
from tests.tnn_problems import as_twin, images, largest_difference, mixing, problem

ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "exponent": 0.0}


def batches_of(steps, **shape):
    return [Batch(task.x, task.y) for task in (images(seed=100 + step, **shape) for step in range(steps))]


def trained(model, rule, objective, params, batches):
    state = rule.init(params)
    for batch in batches:
        params, state = rule.update(params, state, *objective(params, batch))
    return params


def implicit_rank_run(steps, **options):
    """Run experiment A.2 and return parameters before and after, and the batches."""
    task, model, params = problem(coordinates="original", **options)
    batches = batches_of(steps, n=options["n"], d=options["d"], c=options["c"])
    after = trained(model, sgd.build(task, model, lr=0.3), adversarial(task, model), params, batches)
    return params, after, batches


def generalization_gap_run(steps, **options):
    """Run experiment A.1 and return parameters before and after, and the batches."""
    task, model, params = problem(coordinates="original", **options)
    batches = batches_of(steps, n=options["n"], d=options["d"], c=options["c"])
    objective = adversarial(task, model, eps=20 / 255, clean=1.0)
    return params, trained(model, adam.build(task, model, **ADAM), objective, params, batches), batches


@pytest.mark.parametrize("transform", ["authors", "dct", "haar"])
def test_five_sgd_steps_equal_the_twin(transform):
    before, after, batches = implicit_rank_run(5, transform=transform, n=10, d=6, c=5, width=7)
    arrays = [(batch.x[0].numpy(), batch.y[0].numpy()) for batch in batches]
    twin = tnn_twin.sgd(*as_twin(before), arrays, mixing(transform, 5), eps=16 / 255, lr=0.3)
    assert largest_difference(after, twin) < 1e-10 < 1e-4 < largest_difference(after, as_twin(before))


@pytest.mark.parametrize("transform", ["authors", "dct"])
def test_fifteen_adam_steps_equal_the_twin(transform):
    before, after, batches = generalization_gap_run(15, transform=transform, n=10, d=6, c=5, width=7, rank=2)
    arrays = [(batch.x[0].numpy(), batch.y[0].numpy()) for batch in batches]
    twin = tnn_twin.adam(*as_twin(before), arrays, mixing(transform, 5), eps=20 / 255, lr=1e-3, clean=1.0)
    assert largest_difference(after, twin) < 1e-10 < 1e-4 < largest_difference(after, as_twin(before))


@released_code.needs_checkout
@pytest.mark.parametrize("rank", [None, 4])
def test_outputs_and_gradients_equal_the_released_code(rank):
    task, model, params = problem(n=6, d=28, c=28, width=16, rank=rank, transform="authors")
    log_risk, grad = logistic(task, model)(params, Batch(task.x, task.y))
    with released_code.modules() as (_, models):
        net, order = released_code.network(models, params)
        outputs = net(task.x[0].unsqueeze(1)).reshape(-1)
        torch.testing.assert_close(model.apply(params, task.x)[0].sigmoid(), outputs, rtol=1e-12, atol=1e-14)
        torch.nn.BCELoss()(outputs, (task.y[0] + 1) / 2).backward()
        with torch.no_grad():
            for leaf in net.parameters():
                leaf.copy_(leaf.grad)
        ours = {name: log_risk.exp()[0] * leaf for name, leaf in grad.direction.items()}
        assert released_code.difference(net, order, ours) < 1e-14


@released_code.needs_checkout
def test_five_sgd_steps_equal_the_released_code():
    before, after, batches = implicit_rank_run(5, transform="authors", n=10, d=28, c=28, width=16)
    with released_code.modules() as (_, models):
        net, order = released_code.network(models, before)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
        for x, y in batches:
            pictures, labels = x[0].unsqueeze(1), (y[0] + 1) / 2
            attacked = released_code.fgsm(net, pictures, labels, 16 / 255)
            optimizer.zero_grad()
            torch.nn.BCELoss()(net(attacked).reshape(-1), labels).backward()
            optimizer.step()
        assert released_code.difference(net, order, after) < 1e-10 < 1e-4 < released_code.difference(net, order, before)


@released_code.needs_checkout
def test_fifteen_adam_steps_equal_the_released_code():
    before, after, batches = generalization_gap_run(15, transform="authors", n=10, d=28, c=28, width=28, rank=4)
    with released_code.modules() as (_, models):
        net, order = released_code.network(models, before)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for x, y in batches:
            pictures, labels = x[0].unsqueeze(1), (y[0] + 1) / 2
            optimizer.zero_grad()
            attacked = released_code.fgsm(net, pictures, labels, 20 / 255)
            torch.nn.BCELoss()(net(attacked).reshape(-1), labels).backward()
            optimizer.step()
        assert released_code.difference(net, order, after) < 1e-10 < 1e-4 < released_code.difference(net, order, before)
