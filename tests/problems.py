"""Small separable problems for optimizers, and a minimal training loop."""

import torch

from src.data import separable
from src.models import linear, mlp
from src.training.objectives import logistic
from src.types import Batch, ScaledGrad


def network_problem(members=2, d=6, n=12, width=5, **options):
    """Return task, squared-ReLU network and logistic risk; members have their own data."""
    task = separable.build(range(members), shape=[d], n=n, n_test=10, margin=1.0)
    model = mlp.build(task, width=width, scale=1.0, **options)
    return task, model, logistic(task, model)


def linear_problem(members=2, shape=(3, 4), n=8, margin=1.0):
    task = separable.build(range(members), shape=list(shape), n=n, n_test=10, margin=margin)
    model = linear.build(task)
    return task, model, logistic(task, model)


def train(rule, objective, task, params, steps, *, factor=1.0, log_shift=0.0):
    """Return parameters and log-risk after ``steps`` with gradients multiplied by factor·e^{log_shift}."""
    state, batch = rule.init(params), Batch(task.x, task.y)
    for _ in range(steps):
        log_risk, grad = objective(params, batch)
        direction = {name: factor * leaf for name, leaf in grad.direction.items()}
        params, state = rule.update(params, state, log_risk, ScaledGrad(direction, grad.log_scale + log_shift))
    return params, log_risk


def random_params(shapes, members=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(members, *shape, generator=draw, dtype=torch.float64) for name, shape in shapes.items()}


def inner(a, b):
    """Return ⟨a, b⟩ per member."""
    return sum((a[name] * b[name]).flatten(1).sum(1) for name in a)


def distance(a, b):
    """Return the largest difference of two sets of parameters, relative to the largest entry."""
    largest = max(float(leaf.abs().max()) for leaf in a.values())
    return max(float((a[name] - b[name]).abs().max()) for name in a) / largest
