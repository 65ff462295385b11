import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from src.data import rademacher
from src.errors import ConfigError
from src.measurements import scaled_optimum
from src.models import linear
from src.optimizers import adam
from src.training import batches
from src.training.objectives import logistic
from src.types import Snapshot
from tests.problems import linear_problem


def test_ratio_is_one_at_the_solution_of_the_weighted_problem():
    task = rademacher.build([3], d=6, n=4, n_test=5, spread=9.0)
    model = linear.build(task)
    s, x, y = (leaf.numpy() for leaf in (task.facts["scales"], task.x[0], task.y[0]))
    fits = {"type": "ineq", "fun": lambda theta: y * (x @ theta) - 1}
    solution = minimize(lambda theta: s @ theta**2, np.linalg.lstsq(x, y, rcond=None)[0], constraints=fits, tol=1e-12)
    snapshot = Snapshot(0, {"w": torch.tensor(solution.x)[None, None]}, torch.zeros(1))
    columns = scaled_optimum.build(task, model)(snapshot)
    assert float(columns["ratio_scaled"]) == pytest.approx(1, abs=1e-5)
    assert all(0 < float(columns[name]) <= 1 for name in ("scaled_in_l2", "scaled_in_linf", "linf_in_l2"))


def test_steps_of_adam_with_one_example_are_gradients_over_the_scales():
    """Every step is a combination of y_i x_i/s up to rounding, so θ stays in the span of n vectors."""
    task = rademacher.build([0], d=8, n=3, n_test=5, spread=9.0)
    model = linear.build(task)
    risk, rule = logistic(task, model), adam.build(task, model, lr=0.1)
    batch, params = batches.build(task, [0], 1), model.init([0])
    state = rule.init(params)
    for step in range(20):
        params, state = rule.update(params, state, *risk(params, batch(step)))
    span = torch.linalg.qr((task.x[0] / task.facts["scales"]).mT).Q
    theta = params["w"].reshape(-1)
    torch.testing.assert_close(span @ (span.mT @ theta), theta)


def test_needs_scales():
    task, model, _ = linear_problem()
    with pytest.raises(ConfigError, match="needs data=rademacher"):
        scaled_optimum.build(task, model)
