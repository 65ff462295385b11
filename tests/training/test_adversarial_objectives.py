"""Adversarial risks: their formulas, finite differences at fixed attacks, and saturation."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from src.attacks.bim import bim, fgsm
from src.errors import ConfigError
from src.training import objectives
from src.types import Batch, Model
from tests.problems import network_problem
from tests.tnn_problems import images, problem

EPS = 0.05


def setting(**options):
    task, model, params = problem(members=2, n=15, **options)
    return task, model, params, Batch(task.x, task.y)


def attacked(task, model, params, steps=1, **options):
    return bim(model.apply, params, task.x, task.y, EPS, steps=steps, box=(0.0, 1.0), **options)


def plain_gradient(risk, params):
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    value = risk(leaves)
    return value.detach(), torch.autograd.grad(value.sum(), tuple(leaves.values()))


def check(objective, risk, params, batch):
    log_risk, grad = objective(params, batch)
    value, plain = plain_gradient(risk, params)
    torch.testing.assert_close(log_risk.exp(), value, rtol=1e-12, atol=0)
    for leaf, other in zip(grad.direction.values(), plain, strict=True):
        scale = grad.log_scale.exp().reshape(-1, *[1] * (leaf.ndim - 1))
        torch.testing.assert_close(scale * leaf, other, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("clean", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 3])
def test_is_the_mean_loss_at_the_attacked_inputs(clean, norm, steps):
    task, model, params, batch = setting()
    worst = attacked(task, model, params, norm=norm, steps=steps)

    def risk(leaves):
        at_attack, at_image = model.apply(leaves, worst), model.apply(leaves, task.x)
        return (softplus(-task.y * at_attack) + clean * softplus(-task.y * at_image)).mean(-1)

    objective = objectives.adversarial(task, model, eps=EPS, norm=norm, steps=steps, clean=clean)
    check(objective, risk, params, batch)
    assert (objective(params, batch)[0] > (1 + clean) * objectives.logistic(task, model)(params, batch)[0]).all()


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"transform": "dft"}, {"transform": "authors"}])
def test_penalty_adds_the_tubal_nuclear_norms(options):
    task, model, params, batch = setting(**options)
    worst = attacked(task, model, params)

    def risk(leaves):
        losses = softplus(-task.y * model.apply(leaves, worst)).mean(-1)
        layers = model.layers(model.hat(leaves)).values()
        nuclear = sum((model.transform.multiplicity * torch.linalg.svdvals(hat).sum(-1)).sum(-1) for hat in layers)
        return losses + 0.02 * model.scale * nuclear

    check(objectives.adversarial(task, model, eps=EPS, tubal_nuclear=0.02), risk, params, batch)


def test_trades_is_the_clean_loss_and_the_divergence():
    task, model, params, batch = setting()
    predicted = model.apply(params, task.x).sign()
    worst = bim(model.apply, params, task.x, predicted, EPS, box=(0.0, 1.0), steps=10, step=0.25)

    def risk(leaves):
        z, attacked = model.apply(leaves, task.x), model.apply(leaves, worst)
        p, q = torch.distributions.Bernoulli(logits=z), torch.distributions.Bernoulli(logits=attacked)
        return (softplus(-task.y * z) + 6 * torch.distributions.kl_divergence(p, q)).mean(-1)

    check(objectives.trades(task, model, eps=EPS), risk, params, batch)


def test_without_a_radius_all_are_the_clean_risk():
    task, model, params, batch = setting()
    clean, _ = objectives.logistic(task, model)(params, batch)
    torch.testing.assert_close(objectives.adversarial(task, model, eps=0.0)(params, batch)[0], clean)
    saturating = objectives.adversarial(task, model, eps=0.0, saturating=True)
    torch.testing.assert_close(saturating(params, batch)[0], clean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(objectives.trades(task, model, eps=0.0)(params, batch)[0], clean)


def test_shared_inputs_are_attacked_for_each_member_separately():
    task, model, params, _ = setting()
    shared = task._replace(x=task.x[0], y=task.y[0])
    together, grad = objectives.adversarial(shared, model, eps=EPS)(params, Batch(shared.x, shared.y))
    for i in range(2):
        alone = {name: leaf[[i]] for name, leaf in params.items()}
        log_risk, own_grad = objectives.adversarial(shared, model, eps=EPS)(alone, Batch(shared.x, shared.y))
        torch.testing.assert_close(log_risk[0], together[i])
        torch.testing.assert_close(own_grad.direction["w2"][0], grad.direction["w2"][i])


def test_any_network_can_be_trained_against_attacks():
    task, model, _ = network_problem()
    params = model.init([0, 1])
    objective = objectives.adversarial(task, model, eps=EPS, box=None)
    worst = fgsm(model.apply, params, task.x, task.y, EPS)
    batch = Batch(task.x, task.y)
    check(objective, lambda leaves: softplus(-task.y * model.apply(leaves, worst)).mean(-1), params, batch)


BIAS_ONLY = Model(init=None, apply=lambda p, x: p["z"] + 0 * x.sum((-1, -2)) + p["u"] * x.sum((-1, -2)), degree=None)


@pytest.mark.parametrize(("z", "label", "loss"), [(17.0, -1.0, 100.0), (17.0, 1.0, 0.0), (-17.0, 1.0, 17.0)])
def test_saturating_loss_costs_100_or_nothing_and_has_no_gradient(z, label, loss):
    """A sigmoid in single precision is exactly 1 at z = 17, but not exactly 0 at z = −17."""
    task = images(1, 3)
    batch = Batch(task.x, torch.full_like(task.y, label))
    params = {"z": torch.tensor([[z]]).double(), "u": torch.zeros(1, 1).double()}
    log_risk, grad = objectives.adversarial(task, BIAS_ONLY, eps=0.0, saturating=True)(params, batch)
    gradient = grad.log_scale.exp() * grad.direction["z"]
    assert float(log_risk.exp()) == pytest.approx(loss, abs=1e-5)
    assert float(gradient) == pytest.approx(-1.0 if z < 0 else 0.0, abs=1e-5) and gradient.isfinite()
    exact, _ = objectives.adversarial(task, BIAS_ONLY, eps=0.0)(params, batch)
    assert float(exact.exp()) == pytest.approx(17.0 if z * label < 0 else math.log1p(math.exp(-17)), rel=1e-6)


@pytest.mark.parametrize("saturating", [True, False])
def test_saturation_masks_the_attack_on_confident_sevens(saturating):
    task = images(1, 3)
    batch = Batch(task.x, torch.ones_like(task.y))
    params = {"z": torch.tensor([[20.0]]).double(), "u": torch.full((1, 1), 0.5).double()}
    seen = []

    def apply(p, x):
        seen.append(x.detach())
        return BIAS_ONLY.apply(p, x)

    model = BIAS_ONLY._replace(apply=apply)
    objectives.adversarial(task, model, eps=EPS, saturating=saturating)(params, batch)
    moved = (seen[-1] - task.x).abs().max()
    assert moved == 0 if saturating else moved == pytest.approx(EPS)


def test_rejects_invalid_boxes_and_penalties():
    task, model, *_ = setting()
    with pytest.raises(ConfigError, match=r"objective\.box=\[1.0,0.0\]"):
        objectives.adversarial(task, model, box=[1.0, 0.0])
    with pytest.raises(ConfigError, match="must contain all inputs"):
        objectives.trades(task._replace(x=-task.x), model)
    with pytest.raises(ConfigError, match="model=tnn"):
        objectives.adversarial(task, BIAS_ONLY, tubal_nuclear=0.1)
