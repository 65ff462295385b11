"""margin_flow has the property of Lyu and Li (2020): once the data are fitted, the smoothed margin never falls."""

import math

import pytest
import torch

from src.data import clusters, separable
from src.errors import ConfigError
from src.models import linear, two_layer_relu
from src.optimizers import margin_flow
from src.training.objectives import exponential
from src.types import Batch, ScaledGrad


def setup(seeds=(0, 1), **rule):
    task = clusters.build(list(seeds), k=4, d=256, n=24, n_test=10, sigma=0.3)
    model = two_layer_relu.build(task, width=10, init="balanced", init_scale=1e-4)
    return task, model, exponential(task, model), margin_flow.build(task, model, **rule)


def accepted_points(task, model, objective, rule, seeds, steps):
    params = model.init(list(seeds))
    state, batch = rule.init(params), Batch(task.x, task.y)
    for _ in range(steps):
        log_risk, grad = objective(params, batch)
        params, state = rule.update(params, state, log_risk, grad)
        yield rule.accepted_params(params, state), state


def smoothed_margin(task, model, params):
    q = task.y * model.apply(params, task.x)
    norm = sum(leaf.flatten(1).square().sum(1) for leaf in params.values()).sqrt()
    return -(-q).logsumexp(-1) / norm**2, -(-q).logsumexp(-1)


@pytest.mark.parametrize("alpha", [0.5, 50.0], ids=["usual", "far too large"])
def test_smoothed_margin_never_falls_once_fitted(alpha):
    task, model, objective, rule = setup(alpha=alpha)
    highest = torch.full((2,), -math.inf, dtype=torch.float64)
    rejected = 0
    for point, state in accepted_points(task, model, objective, rule, (0, 1), 500):
        margin, fitted = smoothed_margin(task, model, point)
        fitted = fitted > 0
        assert (margin[fitted] >= highest[fitted] * (1 - 1e-11)).all()
        highest = torch.where(fitted, margin, highest)
        rejected = state["rejected"]
    assert (highest > 0).all(), "the data were never fitted: nothing was tested"
    assert (rejected > 0).all(), "no step was taken back: nothing was tested"


def test_first_step_is_the_formula():
    task, model, objective, rule = setup(alpha=0.3, rho=0.01)
    params = model.init([0, 1])
    log_risk, grad = objective(params, Batch(task.x, task.y))
    moved, _ = rule.update(params, rule.init(params), log_risk, grad)
    for member in (0, 1):
        g = {name: -leaf[member] for name, leaf in grad.direction.items()}
        g_norm = math.sqrt(sum(float(leaf.square().sum()) for leaf in g.values()))
        norm = math.sqrt(sum(float(leaf[member].square().sum()) for leaf in params.values()))
        eta = min(0.3 / g_norm**2, 0.01 * norm / g_norm)
        for name, leaf in params.items():
            torch.testing.assert_close(moved[name][member], leaf[member] + eta * g[name])


def test_layers_stay_balanced_as_along_the_flow():
    """‖(w_j, b_j)‖² − v_j² is conserved by gradient flow on a ReLU network."""
    task, model, objective, rule = setup()
    *_, (point, _) = accepted_points(task, model, objective, rule, (0, 1), 400)
    incoming = (point["w"].square().sum(-1) + point["b"].square()).sqrt()
    assert ((incoming - point["v"].abs()).abs() < 2e-3 * point["v"].abs().amax()).all()


def test_half_the_step_size_gives_the_same_limit():
    limits = []
    for rho in (0.05, 0.025):
        task, model, objective, rule = setup(rho=rho)
        *_, (point, _) = accepted_points(task, model, objective, rule, (0, 1), 1200)
        limits.append(smoothed_margin(task, model, point)[0])
    torch.testing.assert_close(*limits, rtol=5e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_margin_lower_by_rounding_only_is_accepted(dtype):
    _task, model, _, rule = setup()
    params = {name: leaf.to(dtype) for name, leaf in model.init([0, 1]).items()}
    flat = ScaledGrad({name: torch.zeros_like(leaf) for name, leaf in params.items()}, torch.zeros(2, dtype=dtype))
    log_risk, state = torch.full((2,), -30.0, dtype=dtype), rule.init(params)
    for roundings in (0, 4, -4):
        params, state = rule.update(params, state, log_risk * (1 - roundings * torch.finfo(dtype).eps), flat)
    assert (state["rejected"] == 0).all()
    _, state = rule.update(params, state, log_risk * (1 - 1e-4), flat)
    assert (state["rejected"] == 1).all()


def test_a_zero_gradient_is_not_an_error():
    _task, model, _, rule = setup()
    params = model.init([0, 1])
    flat = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
    moved, state = rule.update(params, rule.init(params), torch.zeros(2), ScaledGrad(flat, torch.zeros(2)))
    assert all(torch.equal(moved[name], params[name]) for name in params)
    assert all(leaf.isfinite().all() for leaf in rule.accepted_params(moved, state).values())


def test_counts_examples_where_inputs_are_matrices():
    """Σ e^{−q} ≥ 1 until the data are fitted: the merit is then −log Σ e^{−q} = −(log L + log n)."""
    task = separable.build([0], n=60, shape=[8, 10])
    model = linear.build(task)
    rule, params = margin_flow.build(task, model), model.init([0])
    log_risk, grad = exponential(task, model)(params, Batch(task.x, task.y))
    _, state = rule.update(params, rule.init(params), log_risk, grad)
    torch.testing.assert_close(state["merit"], -(log_risk + math.log(60)))


def test_refuses_a_network_that_is_not_homogeneous():
    task, model, _, _ = setup()
    with pytest.raises(ConfigError, match="homogeneous"):
        margin_flow.build(task, model._replace(degree=None))
