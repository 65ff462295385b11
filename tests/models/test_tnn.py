"""The t-NN against an independent NumPy twin; homogeneity, members, coordinates, initial norms."""

import math

import numpy as np
import pytest
import torch

from src.errors import ConfigError
from src.models import tnn
from src.optimizers import sgd
from src.tensors import spectra
from src.tensors.products import t_product
from src.tensors.transforms import NAMES, transform
from src.training.objectives import adversarial, logistic
from src.types import Batch
from tests import tnn_twin
from tests.tnn_problems import as_twin, images, mixing, problem, tubes_last

REAL = [name for name in NAMES if name != "dft"]
ORTHOGONAL_REAL = [name for name in REAL if name != "authors"]


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("name", REAL)
def test_outputs_and_gradients_equal_the_twin(name, rank):
    task, model, params = problem(transform=name, rank=rank, depth=3, coordinates="original")
    x, y = task.x[0].numpy(), task.y[0].numpy()
    twin, m = as_twin(params), mixing(name, 4)
    outputs, _ = tnn_twin.forward(*twin, x, m)
    np.testing.assert_allclose(model.apply(params, task.x)[0].numpy(), outputs, rtol=1e-12, atol=1e-13)

    log_risk, grad = logistic(task, model)(params, Batch(task.x, task.y))
    *of_twin, _ = tnn_twin.gradients(*twin, x, y, m)
    expected = tnn_twin.flat(*of_twin)
    for leaf, other in zip(grad.direction.values(), expected, strict=True):
        ours = leaf[0] * log_risk[0].exp()
        ours = tubes_last(ours) if ours.ndim == 3 else ours.numpy().T
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_is_the_formula_of_the_paper(name):
    """Compare with wᵀ vec σ(W² *_M σ(W¹ *_M x)) by t_product, one image at a time."""
    task, model, params = problem(transform=name, scale=1.7, depth=2, bias=False, coordinates="original")
    m = transform(name, 4, scale=1.7)
    for i, image in enumerate(task.x[0]):
        h = image.mT.unsqueeze(-1)
        for layer in ("w1", "w2"):
            h = t_product(params[layer][0], h, m).relu()
        expected = (params["v"][0] * h.squeeze(-1)).sum()
        torch.testing.assert_close(model.apply(params, task.x)[0, i], expected)


@pytest.mark.parametrize("options", [{"rank": 3}, {"transform": "dft"}, {"depth": 1}, {}])
def test_gradients_against_finite_differences(options):
    task, model, params = problem(n=4, d=3, c=3, width=3, **options)
    leaves = [leaf.requires_grad_() for leaf in params.values()]

    def outputs(x, *values):
        return model.apply(dict(zip(params, values, strict=True)), x)

    assert torch.autograd.gradcheck(outputs, (task.x.requires_grad_(), *leaves), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize(("rank", "degree"), [(None, 4), (3, 7)])
def test_homogeneous_without_a_bias(rank, degree):
    task, model, params = problem(rank=rank, bias=False)
    assert model.degree == degree and "b" not in params
    outputs = model.apply(params, task.x)
    torch.testing.assert_close(
        model.apply({k: 1.3 * leaf for k, leaf in params.items()}, task.x), 1.3**degree * outputs
    )


def test_not_homogeneous_with_a_bias():
    task, model, params = problem()
    outputs = model.apply(params, task.x)
    scaled = model.apply({k: 1.3 * leaf for k, leaf in params.items()}, task.x)
    assert model.degree is None and not torch.allclose(scaled, 1.3**4 * outputs)


@pytest.mark.parametrize("rank", [None, 2])
def test_members_equal_single_networks(rank):
    task, model, params = problem(members=3, rank=rank)
    together = model.apply(params, task.x)
    shared = model.apply(params, task.x[1])
    for i in range(3):
        alone = model.init([i])
        assert all(torch.equal(alone[name][0], params[name][i]) for name in params)
        torch.testing.assert_close(model.apply(alone, task.x[[i]])[0], together[i])
        torch.testing.assert_close(model.apply(alone, task.x[1])[0], shared[i])


@pytest.mark.parametrize("name", ORTHOGONAL_REAL)
def test_coordinates_do_not_change_the_network_nor_gradient_descent(name):
    """SGD on O(W) is SGD on W: five adversarial steps, then back to the original domain."""
    task = images(2)
    trained = {}
    for coordinates in ("original", "transform"):
        model = tnn.build(task, width=6, transform=name, coordinates=coordinates)
        objective, rule = adversarial(task, model, eps=0.05), sgd.build(task, model, lr=0.5)
        params = model.init([0, 1])
        state = rule.init(params)
        for _ in range(5):
            params, state = rule.update(params, state, *objective(params, Batch(task.x, task.y)))
        trained[coordinates] = model.layers(model.hat(params)) | {"v": params["v"], "b": params["b"]}
    moved = (trained["original"]["w2"] - model.hat(model.init([0, 1]))["w2"]).abs().max()
    assert moved > 1e-3
    for leaf, other in zip(trained["original"].values(), trained["transform"].values(), strict=True):
        torch.testing.assert_close(leaf, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_factors_make_the_same_network(name):
    task, model, params = problem(transform=name, rank=2)
    hat = model.hat(params)
    layers = model.layers(hat)
    whole = {**layers, "v": hat["v"], "b": hat["b"]}
    torch.testing.assert_close(model.forward(whole, task.x), model.apply(params, task.x))
    for layer in layers.values():
        assert spectra.tubal_rank(spectra.singular_values(layer), 1e-9).tolist() == [2]


@pytest.mark.parametrize("name", NAMES)
def test_scaled_and_mapped_act_on_whole_layers(name):
    for rank in (None, 2):
        _, model, params = problem(transform=name, rank=rank)
        doubled = model.scaled(params, {"w2": torch.tensor([2.0]).double()})
        before, after = model.layers(model.hat(params)), model.layers(model.hat(doubled))
        torch.testing.assert_close(after["w2"], 2 * before["w2"])
        torch.testing.assert_close(after["w1"], before["w1"])
    assert model.mapped is None
    _, model, params = problem(transform=name)
    halved = model.layers(model.hat(model.mapped(params, lambda hat: hat / 2)))
    torch.testing.assert_close(halved["w3"], model.layers(model.hat(params))["w3"] / 2)


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_have_the_law_of_the_released_code(name):
    """W uniform in ±1/√(d·c), so ‖W‖_F² is D/3 on average, in every coordinates."""
    task = images(n=2, d=28, c=28)
    model = tnn.build(task, width=28, transform=name)
    params = model.init([0])
    layers = model.layers(model.hat(params))
    for hat in layers.values():
        weights = model.transform.inverse(hat)
        assert weights.abs().max() < 1 / 28
        assert float(weights.norm()) == pytest.approx(math.sqrt(28 / 3), rel=0.02)
    assert params["v"].abs().max() < 1 / 28 and params["b"].abs().max() < 1 / 28


def test_norm_matched_factors_have_the_norm_of_an_unfactored_layer():
    task = images(members=2, n=2, d=28, c=28)
    for rank in (4, 28):
        model = tnn.build(task, width=28, rank=rank, init="norm_matched")
        plain = tnn.build(task, width=28, rank=rank)
        params = model.init([0, 1])
        for name, hat in model.layers(model.hat(params)).items():
            norm = model.transform.inverse(hat).flatten(1).norm(dim=1)
            torch.testing.assert_close(norm, torch.full((2,), math.sqrt(28 / 3), dtype=torch.float64))
            before = plain.init([0, 1])[f"{name}_left"]
            ratio = params[f"{name}_left"] / before
            torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))


def test_rejects_invalid_options():
    task = images()
    with pytest.raises(ConfigError, match="layout=matrix"):
        tnn.build(task._replace(x=task.x.flatten(2)))
    with pytest.raises(ConfigError, match="rank=6: must be <= 5"):
        tnn.build(task, width=6, rank=6)
    for name in ("dft", "authors"):
        with pytest.raises(ConfigError, match="must be original"):
            tnn.build(task, transform=name, coordinates="transform")
