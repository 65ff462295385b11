import pytest
import torch

from src.data import separable
from src.errors import ConfigError
from src.models import linear, mlp


def task_of(shape, members=2):
    return separable.build(range(members), shape=shape, n=7, n_test=3)


NETWORKS = {
    "relu": ({"power": 1.0}, 2),
    "squared relu": ({}, 3),
    "three layers": ({"depth": 3}, 7),
    "four layers of relu": ({"depth": 4, "power": 1.0}, 4),
    "power 1.5": ({"power": 1.5, "depth": 3}, 1 + 1.5 + 2.25),
    "quadratic": ({"activation": "quadratic"}, 3),
    "one layer": ({"depth": 1}, 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_degree_satisfies_eulers_identity(name):
    """f(aθ) = a^L f(θ), and ⟨∇f, θ⟩ = L f."""
    options, degree = NETWORKS[name]
    task = task_of([5])
    model = mlp.build(task, width=6, **options)
    params = {key: leaf.requires_grad_() for key, leaf in model.init([0, 1]).items()}
    f = model.apply(params, task.x)
    assert model.degree == degree
    torch.testing.assert_close(model.apply({k: 1.7 * w for k, w in params.items()}, task.x), 1.7**degree * f)
    coefficients = torch.randn(f.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grads = torch.autograd.grad((coefficients * f).sum(), tuple(params.values()))
    euler = sum((g * w).sum() for g, w in zip(grads, params.values(), strict=True))
    torch.testing.assert_close(euler, degree * (coefficients * f).sum(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0])
def test_the_derivative_of_a_power_of_relu_is_that_of_autograd(power):
    z = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
    weights = torch.arange(41.0, dtype=torch.float64)
    (fused,) = torch.autograd.grad((weights * mlp.ReluPower.apply(z, power)).sum(), z)
    (usual,) = torch.autograd.grad((weights * z.relu() ** power).sum(), z)
    torch.testing.assert_close(fused, usual, rtol=1e-14, atol=0)


@pytest.mark.parametrize(("power", "activation"), [(1.0, "relu"), (2.0, "relu"), (2.0, "quadratic")])
def test_outputs_agree_with_the_formula_written_out(power, activation):
    task = task_of([4])
    model = mlp.build(task, depth=3, width=5, power=power, activation=activation)
    params = model.init([3, 4])

    def phi(z):
        return z**2 if activation == "quadratic" else max(z, 0.0) ** power

    for i in range(2):
        w1, w2, w3 = (leaf[i] for leaf in params.values())
        for x, output in zip(task.x[i], model.apply(params, task.x)[i], strict=True):
            h = torch.tensor([phi(float(z)) for z in w1 @ x], dtype=torch.float64)
            h = torch.tensor([phi(float(z)) for z in w2 @ h], dtype=torch.float64)
            torch.testing.assert_close((w3 @ h)[0], output)


@pytest.mark.parametrize("build", [lambda t: mlp.build(t, depth=3, width=5), lambda t: linear.build(t, scale=1.0)])
@pytest.mark.parametrize("shape", [[6], [2, 3]])
def test_members_and_shared_inputs(build, shape):
    """Outputs at inputs [M, N, …] and [N, …], vectors or images, equal those of one member at a time."""
    task = task_of(shape, members=3)
    model = build(task)
    params = model.init([0, 1, 2])
    separate, shared = model.apply(params, task.x), model.apply(params, task.x[0])
    assert separate.shape == shared.shape == (3, 7)
    for i in range(3):
        single = {key: leaf[[i]] for key, leaf in params.items()}
        torch.testing.assert_close(model.apply(single, task.x[[i]])[0], separate[i])
        torch.testing.assert_close(model.apply(single, task.x[0])[0], shared[i])


def test_initialisation_depends_on_the_seed_only_and_has_its_variance():
    task = task_of([50])
    model = mlp.build(task, depth=3, width=400, scale=0.3)
    together, alone = model.init([5, 9]), model.init([9])
    assert all(torch.equal(together[key][1], alone[key][0]) for key in alone)
    assert not torch.equal(together["w1"][0], together["w1"][1])
    for key, fan_in in (("w1", 50), ("w2", 400), ("w3", 400)):
        assert float(together[key].std()) == pytest.approx(0.3 / fan_in**0.5, rel=0.1)


def test_linear_model_is_an_inner_product():
    task = task_of([3, 4])
    model = linear.build(task, scale=1.0)
    params = model.init([0, 1])
    assert params["w"].shape == (2, 3, 4)
    torch.testing.assert_close(model.apply(params, task.x), (params["w"][:, None] * task.x).sum((-2, -1)))
    assert linear.build(task_of([5])).init([0])["w"].shape == (1, 1, 5)
    assert (linear.build(task).init([0])["w"] == 0).all()


def test_quadratic_needs_power_2():
    with pytest.raises(ConfigError, match=r"model\.power=3\.0: must be 2"):
        mlp.build(task_of([5]), activation="quadratic", power=3.0)
