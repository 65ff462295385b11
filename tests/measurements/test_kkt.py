import math

import numpy as np
import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import kkt
from src.models import two_layer_relu
from src.optimizers import margin_flow
from src.oracles.clusters import feature_averaging
from src.randomness import normal
from src.training.objectives import exponential
from src.types import Batch, Snapshot


def noiseless(k: int = 6, d: int = 256, seeds=(0, 1), **kwargs):
    return clusters.build(seeds, k=k, d=d, n=2 * k, n_test=1, sigma=0.0, **kwargs)


def measured(task, params, **kwargs) -> dict[str, float]:
    row = kkt.build(task, None, **kwargs)(Snapshot(0, params, None))
    return {name: column[0].item() for name, column in row.items()}


def random_problem(seed: int, n: int = 10, m: int = 5, r: int = 3) -> kkt.Stationarity:
    """Return a random problem with a third of all pairs at kinks."""
    x = torch.cat([normal(seed, "x", (n, r)), torch.ones(n, 1).double()], -1)
    incoming, v = normal(seed, "w", (m, r + 1)), normal(seed, "v", (m,)) * torch.logspace(-3, 0, m).double()
    kink = normal(seed, "kink", (n, m)) > 0.4
    return kkt.Stationarity(x, normal(seed, "y", (n,)).sign(), incoming, v, x @ incoming.mT > 0, kink)


def optimum(problem: kkt.Stationarity) -> float:
    """Return the smallest residual by a conic solver, with explicit gradients of the network."""
    cvxpy = pytest.importorskip("cvxpy")
    n, m = problem.on.shape
    lam, mu = cvxpy.Variable(n, nonneg=True), cvxpy.Variable((n, m), nonneg=True)
    gaps = []
    for j in range(m):
        v_j, w_j = float(problem.v[j]), problem.incoming[j].numpy()
        gap_w, gap_v = w_j, v_j
        for i in range(n):
            x_i, y_i = problem.x[i].numpy(), float(problem.y[i])
            slope = mu[i, j] if problem.kink[i, j] else float(problem.on[i, j]) * lam[i]
            gap_w = gap_w - y_i * v_j * slope * x_i
            gap_v = gap_v - y_i * max(0.0, float(w_j @ x_i)) * lam[i]
        gaps += [gap_w, cvxpy.reshape(gap_v, (1,), order="C")]
    distance = cvxpy.norm(cvxpy.hstack(gaps))
    cvxpy.Problem(cvxpy.Minimize(distance), [mu[:, j] <= lam for j in range(m)]).solve(solver="CLARABEL")
    norm_squared = problem.incoming.square().sum() + problem.v.square().sum()
    return float(distance.value / norm_squared.sqrt())


@pytest.mark.parametrize("seed", range(5))
def test_multipliers_are_optimal(seed):
    problem = random_problem(seed)
    fixed = problem._replace(kink=torch.zeros_like(problem.kink))
    lam = kkt.nonnegative_multipliers(fixed)
    assert (lam >= 0).all()
    nothing = torch.zeros(problem.on.shape).double()
    assert fixed.residual(lam, nothing).item() == pytest.approx(optimum(fixed), rel=1e-6)
    lam, mu = kkt.clarke_multipliers(problem, lam, 20_000, gain=1e-9)
    assert (lam >= 0).all() and (mu >= 0).all() and (mu <= lam[:, None]).all()
    assert problem.residual(lam, mu).item() == pytest.approx(optimum(problem), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_projection_is_the_nearest_feasible_point(seed):
    lam, mu = normal(seed, "lam", (4,)), normal(seed, "mu", (4, 3))
    a, b = normal(seed, "a", (4,)).abs(), normal(seed, "b", (4, 3)).abs()
    new, new_mu = kkt._project(lam, mu, a, b)

    def distance(lam_, mu_):
        return (a * (lam_ - lam) ** 2).sum() + (b * (mu_ - mu) ** 2).sum()

    assert (new >= 0).all() and (new_mu >= 0).all() and (new_mu <= new[:, None]).all()
    for trial in range(2000):  # no feasible point is nearer
        other = (new + 0.05 * normal(trial, "other", (4,))).clamp(min=0)
        other_mu = (new_mu + 0.05 * normal(trial, "other mu", (4, 3))).clamp(min=0)
        assert distance(other, torch.minimum(other_mu, other[:, None])) >= distance(new, new_mu)


@pytest.mark.parametrize("means", [{}, {"means": "equicorrelated", "rho": 0.3}])
def test_feature_averaging_is_a_kkt_point(means):
    task = noiseless(**means)
    net = feature_averaging(task.facts["means"], task.facts["labels"], biases=True)
    scaled = {name: 7 * leaf for name, leaf in net.items()}  # stationarity is invariant to scale
    for params in (net, scaled):
        row = measured(task, params)
        assert row["kkt_residual_clarke"] < 1e-7
        assert row["slackness"] == pytest.approx(0, abs=1e-9)
        assert row["dual_norm_ratio"] == pytest.approx(1, abs=1e-6)  # ‖θ‖² = 2Σλ at margin 1
        assert row["kkt_kinks"] == 12 * 2 / 2  # each neuron is at its kink on the points of the other label


def test_residual_without_biases_vanishes_as_the_dimension_grows():
    residuals = []
    for d in (10**3, 10**5, 10**7):
        task = noiseless(d=d)
        net = feature_averaging(task.facts["means"], task.facts["labels"])
        row = measured(task, net)
        residuals += [row["kkt_residual"], row["kkt_residual_clarke"]]
        assert row["kkt_residual"] < 2 * math.sqrt(6 / d)
        assert row["kkt_residual_clarke"] <= row["kkt_residual"]
    assert residuals[0] / residuals[4] == pytest.approx(100, rel=0.1)


def test_the_robust_network_is_far_from_stationary():
    task = noiseless(d=4096)
    robust = two_layer_relu.robust_network(task.facts["means"], task.facts["labels"], 4096)
    row = measured(task, two_layer_relu.balanced(robust))
    assert row["kkt_residual_clarke"] > 0.95
    assert row["kkt_residual"] <= 1


def trained(task, width: int, steps: int):
    model = two_layer_relu.build(task, width=width)
    rule, objective = margin_flow.build(task, model), exponential(task, model)
    params = model.init([0, 1])
    state = rule.init(params)
    for _ in range(steps):
        params, state = rule.update(params, state, *objective(params, Batch(task.x, task.y)))
    return rule.accepted_params(params, state)


def test_training_approaches_a_kkt_point_and_members_are_independent():
    task = clusters.build([0, 1], k=4, d=256, n=32, n_test=1, sigma=0.1)
    early, late = (trained(task, 8, steps) for steps in (40, 600))
    measure = kkt.build(task, None)
    before, after = measure(Snapshot(0, early, None)), measure(Snapshot(0, late, None))
    assert (after["kkt_residual"] < before["kkt_residual"]).all()
    assert (after["kkt_residual_clarke"] <= after["kkt_residual"]).all()
    assert (after["kkt_residual_clarke"] < 0.02).all()
    assert (after["slackness"] < 0.02).all()
    assert torch.allclose(after["dual_norm_ratio"], torch.ones(2).double(), atol=0.02)

    one_step = kkt.build(task, None, iterations=1)(Snapshot(0, late, None))  # never worse than the start
    assert (one_step["kkt_residual_clarke"] <= after["kkt_residual"]).all()

    alone = kkt.build(task._replace(x=task.x[1:], y=task.y[1:]), None)
    single = alone(Snapshot(0, {name: leaf[1:] for name, leaf in late.items()}, None))
    for name, column in after.items():
        assert column[1].item() == pytest.approx(single[name].item(), rel=1e-8)


def test_residual_is_the_same_in_the_full_space():
    task = clusters.build([0, 1], k=3, d=40, n=9, n_test=1, sigma=0.2)
    params = trained(task, 6, 300)
    frames = torch.stack([clusters.basis(seed, 40, 12) for seed in (0, 1)])
    full = task._replace(x=clusters.to_full(task.x, frames))
    lifted = {**params, "w": clusters.to_full(params["w"], frames)}
    reduced = kkt.build(task, None)(Snapshot(0, params, None))
    for name, column in kkt.build(full, None)(Snapshot(0, lifted, None)).items():
        assert np.allclose(column, reduced[name], rtol=1e-5, atol=1e-8), name


def test_shared_inputs_are_every_members_inputs():
    task = clusters.build([0], k=3, d=40, n=9, n_test=1, sigma=0.2)
    net = feature_averaging(task.facts["means"], task.facts["labels"])
    shared = task._replace(x=task.x[0], y=task.y[0])
    assert measured(shared, net) == measured(task, net)


def test_a_diverged_member_is_nan_and_does_not_affect_the_others():
    task = noiseless()
    net = feature_averaging(task.facts["means"], task.facts["labels"])
    expected = kkt.build(task, None)(Snapshot(0, net, None))["kkt_residual"][1]
    net["v"][0] = torch.inf
    net["w"][0] = torch.nan
    row = kkt.build(task, None)(Snapshot(0, net, None))
    assert all(column[0].isnan() for column in row.values())
    assert row["kkt_residual"][1] == expected


def test_slackness_is_nan_with_misclassified_points():
    task = noiseless()
    net = feature_averaging(task.facts["means"], -task.facts["labels"])
    row = measured(task, net)
    assert math.isnan(row["slackness"]) and math.isnan(row["dual_norm_ratio"])
    assert row["kkt_residual"] == pytest.approx(1)  # every multiplier that would help is negative


def test_other_networks_are_rejected():
    with pytest.raises(ConfigError, match="two_layer_relu"):
        kkt.build(noiseless(), None)(Snapshot(0, {"w": torch.ones(1, 2)}, None))
