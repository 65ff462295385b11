"""Log-domain risks against plain formulas and finite differences, and at losses where those underflow."""

import math

import pytest
import torch

from src.training import objectives
from src.types import Batch, Model, Task

X = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1, 1], dtype=torch.float64)
TASK = Task(X, Y, X, Y, {})
LINEAR = Model(init=None, apply=lambda params, x: (x @ params["w"].mT).mT, degree=1)
W = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

PLAIN = {"exponential": lambda q: torch.exp(-q), "logistic": lambda q: torch.log1p(torch.exp(-q))}
ALL = PLAIN | {"squared": lambda q: (1 - q) ** 2}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_equals_the_plain_formula(name, scale):
    log_risk, grad = getattr(objectives, name)(TASK, LINEAR)({"w": scale * W}, Batch(X, Y))
    for member in range(3):
        w = (scale * W[member]).clone().requires_grad_()
        risk = ALL[name](Y * (X @ w)).mean()
        (plain,) = torch.autograd.grad(risk, w)
        torch.testing.assert_close(log_risk[member].exp(), risk.detach(), rtol=1e-12, atol=0)
        gradient = grad.log_scale[member].exp() * grad.direction["w"][member]
        torch.testing.assert_close(gradient, plain, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("name", ALL)
def test_gradient_equals_finite_differences(name):
    objective, step = getattr(objectives, name)(TASK, LINEAR), 1e-6
    _, grad = objective({"w": W}, Batch(X, Y))
    for index in range(4):
        shift = torch.zeros_like(W)
        shift[:, index] = step
        above, _ = objective({"w": W + shift}, Batch(X, Y))
        below, _ = objective({"w": W - shift}, Batch(X, Y))
        torch.testing.assert_close(grad.direction["w"][:, index], (above - below) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", PLAIN)
def test_exact_where_the_risk_itself_is_zero_in_floating_point(name):
    """On separable data scaled by 1e5 the risk is e^(−thousands): log L = −min q up to log n, and p is a softmax."""
    y = (X @ W[0]).sign()
    params = {"w": 1e5 * W[:1]}
    log_risk, grad = getattr(objectives, name)(TASK._replace(y=y), LINEAR)(params, Batch(X, y))
    q = 1e5 * (X @ W[0]).abs()
    assert float(log_risk) == pytest.approx(float((-q).logsumexp(0)) - math.log(9), rel=1e-14)
    assert float(log_risk.exp()) == 0
    torch.testing.assert_close(grad.direction["w"][0], -(torch.softmax(-q, 0) * y) @ X, rtol=1e-12, atol=1e-300)


def test_squared_error_is_finite_where_it_is_zero():
    zero = LINEAR._replace(apply=lambda params, x: Y + 0 * (x @ params["w"].mT).mT)
    log_risk, grad = objectives.squared(TASK, zero)({"w": W}, Batch(X, Y))
    assert (log_risk < -100).all() and grad.direction["w"].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_of_the_logistic_loss_is_its_derivative(dtype):
    q = torch.tensor([-1e4, -30, -21, -1, 0, 1, 10, 29.99, 30.01, 1e4], dtype=dtype).requires_grad_()
    log_loss, slope = objectives.log_logistic_and_slope(q.detach())
    (derivative,) = torch.autograd.grad(objectives.log_logistic_loss(q).sum(), q)
    assert torch.equal(log_loss, objectives.log_logistic_loss(q).detach())
    torch.testing.assert_close(slope, derivative, rtol=1e-6 if dtype == torch.float32 else 1e-9, atol=0)


def test_the_risk_of_margins_is_the_mean_risk():
    _, short = objectives.logistic(TASK, LINEAR)({"w": W}, Batch(X, Y))
    plain = objectives._mean_risk(
        LINEAR, lambda forward, params, batch: objectives.log_logistic_loss(batch.y * forward(params, batch.x))
    )
    _, long = plain({"w": W}, Batch(X, Y))
    torch.testing.assert_close(short.direction["w"], long.direction["w"], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(short.log_scale, long.log_scale, rtol=1e-14, atol=0)


@pytest.mark.parametrize("build", [objectives.exponential, objectives.logistic])
def test_a_sum_is_n_times_the_mean_with_the_same_direction(build):
    both = (build(TASK, LINEAR, reduction=how)({"w": W}, Batch(X, Y)) for how in ("mean", "sum"))
    (mean, of_mean), (total, of_total) = both
    torch.testing.assert_close(total, mean + math.log(9))
    for name, leaf in of_mean.direction.items():
        torch.testing.assert_close(of_total.direction[name], leaf)
    torch.testing.assert_close(of_total.log_scale, of_mean.log_scale + math.log(9))
