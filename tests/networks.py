"""Two-layer ReLU networks for tests of attacks and certificates, and brute-force flips of the smallest ones."""

import functools
import itertools
import math

import numpy as np
import torch
from scipy.optimize import linprog

from src.data import clusters
from src.models import two_layer_relu
from src.optimizers import margin_flow
from src.oracles.clusters import feature_averaging
from src.training import objectives
from src.types import Batch

KINDS = ("averaging", "robust", "localised", "random", "trained")


@functools.cache
def cluster_task(seeds=(0, 1), k=4, d=1024, n=32, sigma=0.3, n_test=100):
    return clusters.build(list(seeds), k=k, d=d, n=n, n_test=n_test, sigma=sigma)


@functools.cache
def network(kind, task_key=()):
    """Return the parameters of one of ``KINDS`` on ``cluster_task(**dict(task_key))``."""
    task = cluster_task(**dict(task_key))
    means, labels = task.facts["means"], task.facts["labels"]
    match kind:
        case "averaging":
            return feature_averaging(means, labels)
        case "robust":
            return two_layer_relu.robust_network(means, labels, task.facts["d"])
        case "localised":
            return two_layer_relu.grouped_network(means, labels, task.facts["d"])
        case "random":
            return random_network(len(means), 12, means.shape[-1], seed=7)
        case "trained":
            return _trained(task)


def random_network(members, width, r, seed):
    draw = torch.Generator().manual_seed(seed)
    shapes = {"w": (members, width, r), "b": (members, width), "v": (members, width)}
    return {name: torch.randn(shape, generator=draw, dtype=torch.float64) for name, shape in shapes.items()}


def _trained(task, width=8, steps=400):
    model = two_layer_relu.build(task, width=width)
    risk, rule = objectives.exponential(task, model), margin_flow.build(task, model)
    params = model.init(task.facts["seeds"].tolist())
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, state, *risk(params, Batch(task.x, task.y)))
    return rule.accepted_params(params, state)


def outputs(params, x):
    return two_layer_relu.forward(params, x)


def smallest_flip(w, b, v, x, y):
    """Return the smallest ‖δ‖ with y N(x + δ) < 0 for one x in at most 3 dimensions, over all 2^m activation patterns.

    On a pattern the network is linear, so the flips form a polyhedron; its point nearest to 0 is found over all sets of
    at most 3 tight constraints. A flip needs y N ≤ −1e-9 y N(x).
    """
    on = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(b))), dtype=torch.float64)
    pre, outer = w @ x + b, y * v
    margin = (outer * pre.relu()).sum()
    side = 1 - 2 * on
    normals = torch.cat([((on * outer) @ w)[:, None], side[..., None] * w], 1)
    offsets = torch.cat([((on * outer) @ pre + 1e-9 * margin)[:, None], side * pre], 1)
    best = torch.inf
    for size in (1, 2, 3)[: len(x)]:
        for tight in map(list, itertools.combinations(range(len(b) + 1), size)):
            delta = -(torch.linalg.pinv(normals[:, tight]) @ offsets[:, tight, None])
            rounding = 1e-12 * (offsets.abs() + normals.norm(dim=-1) * delta.norm(dim=1))
            inside = (normals @ delta).squeeze(-1) + offsets <= rounding
            norms = delta.squeeze(-1).norm(dim=-1)[inside.all(-1)]
            best = min([best, *norms.tolist()])
    return best


def smallest_linf_flip(w, b, v, x, y):
    """Return the smallest ‖δ‖_∞ with y N(x + δ) < 0, by a linear program for each of the 2^m activation patterns.

    A flip needs y N ≤ −1e-6 y N(x), so that the tolerance of the solver does not count an output of 0.
    """
    tolerances = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    outer, pre, dimension = (y * v).numpy(), (w @ x + b).numpy(), len(x)
    margin = (outer * np.maximum(pre, 0)).sum()
    if margin <= 0:
        return 0.0
    w = w.numpy()
    ones, eye = np.ones((dimension, 1)), np.eye(dimension)
    box = np.vstack([np.hstack([eye, -ones]), np.hstack([-eye, -ones])])
    best = math.inf
    for on in itertools.product([0.0, 1.0], repeat=len(b)):
        side = 1 - 2 * np.array(on)
        rows = np.vstack([(on * outer) @ w, side[:, None] * w])
        limits = -np.append((on * outer) @ pre + 1e-6 * margin, side * pre)
        system = np.vstack([np.hstack([rows, np.zeros((len(rows), 1))]), box])
        cost, limits = np.append(np.zeros(dimension), 1.0), np.append(limits, np.zeros(2 * dimension))
        solution = linprog(cost, system, limits, bounds=(None, None), options=tolerances)
        best = min(best, solution.fun if solution.success else math.inf)
    return best
