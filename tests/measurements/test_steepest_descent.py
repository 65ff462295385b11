"""Definition 5.1 and the lemmas around it, along real training in float64."""

import math

import pytest
import torch

from src.measurements import steepest_descent
from src.optimizers import adam, muon, muon_adam, muon_signum, ngd, nmd, signum
from src.training import loop, objectives, stopping
from src.training.batches import build as batches_of
from tests.problems import network_problem

RULES = {"ngd": ngd, "nmd": nmd, "signum": signum, "adam": adam, "muon": muon, "muon_signum": muon_signum,
         "muon_adam": muon_adam}  # fmt: skip
STOP = {"slackness": None, "flatness": None, "log_risk": None, "check_every": 100}


def trained(name, steps, **options):
    """Return the progress after every step, and what measures it."""
    task, model, _ = network_problem()
    rule = RULES[name].build(task, model, **options)
    objective = objectives.exponential(task, model, reduction="sum")
    batches, stop = batches_of(task, [0, 1], None), stopping.build(task, model, **STOP)
    node = {"name": name, "ratio": options.get("ratio", 1.0)}
    measure = steepest_descent.build(task, model, optimizer=node)
    path = list(loop.train(loop.start(model.init([0, 1]), rule, stop), objective, rule, batches, stop, steps))
    return path, lambda progress: measure(loop.snapshot(progress, objective, rule, batches))


@pytest.mark.parametrize("name", ["ngd", "nmd", "signum", "muon", "muon_signum"])
def test_steps_of_steepest_descent_have_unit_length_and_at_most_the_dual_norm(name):
    path, measured = trained(name, 30, lr=0.05)
    columns = measured(path[-1])
    torch.testing.assert_close(columns["update_norm"], torch.ones(2).double())
    assert (columns["steepness"] <= 1 + 1e-9).all()
    if name == "ngd":  # without momentum u is the steepest direction itself
        torch.testing.assert_close(columns["steepness"], torch.ones(2).double())


@pytest.mark.parametrize("ratio", [0.3, 3.0])
def test_both_layers_of_a_hybrid_move_by_the_rate_of_their_norm(ratio):
    path, measured = trained("muon_signum", 5, lr=0.05, ratio=ratio)
    torch.testing.assert_close(measured(path[-1])["update_norm"], torch.ones(2).double())


def test_the_fall_is_that_of_the_loss_for_short_steps():
    path, measured = trained("nmd", 20, lr=1e-6)
    before, after = (measured(progress) for progress in path[-2:])
    task, model, _ = network_problem()
    objective = objectives.exponential(task, model, reduction="sum")
    log_risks = [objective(progress.params, batches_of(task, [0, 1], None)(0))[0] for progress in path[-2:]]
    torch.testing.assert_close(before["fall"], log_risks[0] - log_risks[1], rtol=1e-4, atol=0)
    assert (after["reach"] > 0).all()


def test_reach_counts_the_steps_of_each_member():
    path, measured = trained("ngd", 10, lr=0.5)
    shorter = path[-1]._replace(own_steps=torch.tensor([10, 3]))
    ratio = measured(shorter)["reach"] / measured(path[-1])["reach"]
    etas = 0.5 * torch.arange(1, 11).double() ** -0.8
    torch.testing.assert_close(ratio, torch.stack([torch.ones(()).double(), etas.sum() / etas[:3].sum()]))


def test_the_soft_margin_is_a_lower_bound_of_the_margin():
    path, measured = trained("nmd", 200, lr=0.3)
    columns = measured(path[-1])
    task, model, _ = network_problem()
    q = task.y * model.apply(path[-1].params, task.x)
    size = sum(leaf.flatten(1).square().sum(1) for leaf in path[-1].params.values()).sqrt()
    margin = q.amin(1) / size**3
    gap = margin - columns["soft_margin"]
    assert (gap >= 0).all()
    assert (gap <= math.log(task.y.shape[-1]) / size**3 + 1e-12).all()


def test_an_optimizer_without_a_predicted_norm_has_no_columns():
    task, model, _ = network_problem()
    measure = steepest_descent.build(task, model, optimizer={"name": "scion"})
    path, _ = trained("ngd", 1, lr=0.1)
    assert measure(loop.Snapshot(0, path[0].params, torch.zeros(2))) == {}


@pytest.mark.parametrize(("beta", "k"), [(0.9, 0.01), (0.9, 0.05), (0.99, 0.004)])
def test_momentum_lags_behind_decaying_gradients_as_corollary_b8_says(beta, k):
    """m/g → (1 − β)/(1 − β e^k), which is c/(c − k) for small c = −log β and k."""
    m = 0.0
    for t in range(5000):
        m = beta * m + (1 - beta) * math.exp(-k * (t - 5000))
    lag = m / math.exp(-k * -1)
    assert lag == pytest.approx((1 - beta) / (1 - beta * math.exp(k)), rel=1e-6)
    c = -math.log(beta)
    assert lag == pytest.approx(c / (c - k), rel=0.06)


def test_adam_is_as_far_from_steepest_descent_as_its_memories_say():
    """Gradients that decay at rate k in every coordinate give steps √(1 − 2k/c₂)/(1 − k/c₁), docs/paper3.md."""
    beta1, beta2, k = 0.9, 0.99, 0.003
    rule = adam.build(*network_problem()[:2], lr=1.0, t0=1e9, exponent=0.8, beta1=beta1, beta2=beta2, epsilon=0.0)
    params = {"w": torch.zeros(1, 3).double()}
    state = rule.init(params)
    signs = torch.tensor([[1.0, -2.0, 0.5]]).double()
    for t in range(3000):
        before = params["w"]
        log_scale = torch.tensor([-k * t]).double()
        params, state = rule.update(params, state, log_scale, objectives.ScaledGrad({"w": signs}, log_scale))
    exact = (1 - beta1) / (1 - beta1 * math.exp(k)) * math.sqrt((1 - beta2 * math.exp(2 * k)) / (1 - beta2))
    torch.testing.assert_close(before - params["w"], exact * signs.sign(), rtol=1e-4, atol=0)
    assert exact == pytest.approx(math.sqrt(1 - 2 * k / (1 - beta2)) / (1 - k / (1 - beta1)), rel=0.03)
