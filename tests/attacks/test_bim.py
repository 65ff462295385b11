"""BIM and FGSM stay in ball and box, are exact on linear networks and equal foolbox."""

import warnings

import pytest
import torch

from src.attacks.bim import bim, fgsm
from src.attacks.pgd import margin_and_gradient, pgd
from tests.tnn_problems import problem

EPS = 0.1


def linear(params, x):
    return (params["u"][:, None] * x).sum((-1, -2))


def task_and_network(**options):
    task, model, params = problem(members=2, n=40, d=6, c=5, width=8, seed=3, **options)
    return task.x, task.y, model.apply, params


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
@pytest.mark.parametrize("steps", [1, 3])
def test_exact_on_a_linear_network(norm, dual, steps):
    """Without a box the margin falls by exactly ε times the dual norm of the weights."""
    x, y, *_ = task_and_network()
    u = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attacked = bim(linear, {"u": u}, x, y, EPS, norm=norm, steps=steps)
    expected = y * linear({"u": u}, x) - EPS * u.flatten(1).norm(p=dual, dim=1)[:, None]
    torch.testing.assert_close(y * linear({"u": u}, attacked), expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("steps", "step"), [(1, 1.0), (7, 0.4)])
def test_stays_in_the_ball_and_in_the_box_and_raises_the_loss(norm, steps, step):
    x, y, apply, params = task_and_network()
    attacked = bim(apply, params, x, y, EPS, norm=norm, steps=steps, step=step, box=(0.0, 1.0))
    delta = (attacked - x).flatten(2)
    size = delta.abs().amax(-1) if norm == "linf" else delta.norm(dim=-1)
    assert size.max() <= EPS + 1e-12 and size.max() > 0.9 * EPS
    assert attacked.min() >= 0 and attacked.max() <= 1
    assert (y * apply(params, attacked) < y * apply(params, x)).double().mean() > 0.95


def test_more_steps_are_stronger_on_average():
    x, y, apply, params = task_and_network()
    params = {name: 3 * leaf for name, leaf in params.items()}

    def loss(steps, step):
        attacked = bim(apply, params, x, y, 0.3, steps=steps, step=step, box=(0.0, 1.0))
        return torch.nn.functional.softplus(-y * apply(params, attacked)).mean()

    one = loss(1, 1.0)
    assert loss(20, 0.125) > one
    attack = pgd(apply, params, x, y, 0.3, steps=20, step=0.125, norm="linf", box=(0.0, 1.0))
    assert torch.nn.functional.softplus(-y * apply(params, x + attack.delta)).mean() > one


@pytest.mark.parametrize("output", [30.0, -30.0, 300.0])
def test_confident_networks_keep_their_gradient(output):
    """At |z| = 30 a sigmoid is 0 or 1 in single precision; the gradient of the margin is unchanged."""
    x, y, apply, params = task_and_network()
    params = {**params, "b": torch.full((2, 1), output, dtype=torch.float64)}
    single = {name: leaf.float() for name, leaf in params.items()}
    margin, gradient = margin_and_gradient(apply, single, x.float(), y.float())
    assert (margin.abs() > abs(output) - 2).all()
    attacked = fgsm(apply, single, x.float(), y.float(), EPS)
    moved = ((attacked - x.float()).abs() > 0.9 * EPS).double().mean()
    assert (gradient != 0).double().mean() > 0.9 and moved > 0.9


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("steps", "step"), [(1, 1.0), (10, 0.25)])
def test_equals_foolbox(norm, steps, step):
    foolbox = pytest.importorskip("foolbox")
    x, y, apply, params = task_and_network()
    one = {name: leaf[:1] for name, leaf in params.items()}

    class TwoClasses(torch.nn.Module):
        def forward(self, images):
            z = apply(one, images.squeeze(1))
            return torch.stack([torch.zeros_like(z[0]), z[0]], -1)

    attack = {
        "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
        "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
    }[norm](rel_stepsize=step, steps=steps, random_start=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = foolbox.PyTorchModel(TwoClasses().eval(), bounds=(0, 1), device="cpu")
        expected = attack.run(wrapped, x[0].unsqueeze(1), (y[0] > 0).long(), epsilon=EPS)
    ours = bim(apply, one, x[:1], y[:1], EPS, norm=norm, steps=steps, step=step, box=(0.0, 1.0))
    torch.testing.assert_close(ours[0], expected.squeeze(1), rtol=0, atol=1e-6)
