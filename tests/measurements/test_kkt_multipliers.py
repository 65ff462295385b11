"""The best multipliers against exact solvers of the dual problem, ``src/oracles/max_margin.py``."""

import numpy as np
import pytest
import torch

from src.measurements import kkt_multipliers, norm_margins
from src.optimizers.norms import norm_from_name
from src.oracles.max_margin import max_margin
from src.types import Snapshot
from tests.problems import linear_problem, network_problem


@pytest.fixture
def gradients():
    """Gradients of six examples of a small network with labels that it fits."""
    task, model, _ = network_problem()
    params = {name: leaf[:1] for name, leaf in model.init([0]).items()}
    x = task.x[0][:6]
    y = torch.sign(model.apply(params, x)[0])
    return kkt_multipliers.example_gradients(model, params, x, y)


def test_gradients_of_examples_are_those_of_autograd():
    task, model, _ = network_problem()
    params = {name: leaf[:1] for name, leaf in model.init([0]).items()}
    of_all = kkt_multipliers.example_gradients(model, params, task.x[0][:3], task.y[0][:3])
    for i in range(3):
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
        (task.y[0][i] * model.apply(leaves, task.x[0][i : i + 1])).sum().backward()
        for name, leaf in leaves.items():
            torch.testing.assert_close(of_all[name][i], leaf.grad[0])


@pytest.mark.parametrize("norm", ["l2", "linf", "msp"])
def test_the_least_dual_norm_is_the_largest_margin(gradients, norm):
    """min over the simplex of ‖Σ μ_i v_i‖_* is max_{‖W‖ ≤ 1} min_i ⟨W, v_i⟩, which NNLS, an LP or an SDP solve."""
    blocks = [leaf.numpy().reshape(len(leaf), -1, leaf.shape[-1]) for leaf in gradients.values()]
    exact = max_margin(blocks, np.ones(len(blocks[0])), norm).margin
    _, smallest = kkt_multipliers.least_dual_norm(gradients, norm_from_name(norm), 2000)
    assert exact * (1 - 1e-6) <= smallest <= 1.05 * exact


@pytest.mark.parametrize("norm", ["l2", "linf", "msp"])
def test_the_exact_separator_is_a_kkt_point_of_its_norm_only(norm):
    task, model, _ = linear_problem(members=1)
    params = {"w": torch.tensor(max_margin(task.x[0].numpy(), task.y[0].numpy(), norm).separator[0]).unsqueeze(0)}
    rules = {"l2": "nmd", "linf": "signum", "msp": "muon"}
    other = {"l2": "linf", "linf": "msp", "msp": "l2"}[norm]
    for name, optimizer in ((norm, rules[norm]), (other, rules[other])):
        measure = kkt_multipliers.build(task, model, near=1e-4, iterations=3000, optimizer={"name": optimizer})
        columns = measure(Snapshot(0, params, torch.zeros(1)))
        assert float(columns["kkt_alignment"]) > 0.98 if name == norm else float(columns["kkt_alignment"]) < 0.97
        assert float(columns["kkt_slackness"]) < 1e-4


def test_at_least_as_well_aligned_as_with_the_weights_of_the_loss():
    """With all examples allowed, the multipliers of the loss are a candidate."""
    task, model, _ = network_problem(width=40)  # so many neurons that no output is 0
    params = model.init([0, 1])
    task = task._replace(y=torch.sign(model.apply(params, task.x)))
    snapshot = Snapshot(0, params, torch.zeros(2))
    kappa = norm_margins.build(task, model, optimizer={"name": "nmd"}, loss="exponential")(snapshot)["kappa_own"]
    options = {"near": 1e9, "most": 1000, "iterations": 2000, "optimizer": {"name": "nmd"}}
    best = kkt_multipliers.build(task, model, **options)(snapshot)
    assert (best["kkt_alignment"] >= kappa - 0.01).all()
    assert (best["kkt_alignment"] <= 1 + 1e-9).all()


def test_a_network_that_misclassifies_has_no_multipliers():
    task, model, _ = network_problem()
    params = model.init([0, 1])
    task = task._replace(y=-torch.sign(model.apply(params, task.x)))
    columns = kkt_multipliers.build(task, model, optimizer={"name": "nmd"})(Snapshot(0, params, torch.zeros(2)))
    assert columns["kkt_alignment"].isnan().all()
