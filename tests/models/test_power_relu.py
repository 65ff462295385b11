import pytest
import torch

from src.data import clusters, separable
from src.errors import ConfigError
from src.models import power_relu, two_layer_relu
from tests.problems import random_params


@pytest.mark.parametrize("normalised", [True, False])
def test_output_is_the_sum_of_powers_and_homogeneous(normalised):
    task = clusters.build([0, 1, 2], k=4, d=64, n=6, n_test=3)
    model = power_relu.build(task, width=5, power=3.0, normalised=normalised)
    params = random_params({"w": (5, 10), "v": (5,)})
    x = task.x[0] / 8
    for member in range(3):
        w, v = params["w"][member], params["v"][member]
        terms = v * (x @ w.mT).relu() ** 3
        expected = (terms / w.norm(dim=1) ** 2 if normalised else terms).sum(1)
        torch.testing.assert_close(model.apply(params, task.x[0])[member], expected)
    twice = {name: 2 * leaf for name, leaf in params.items()}
    torch.testing.assert_close(model.apply(twice, task.x), 2**model.degree * model.apply(params, task.x))


def test_power_one_is_a_relu_network_without_biases():
    task = clusters.build([0], k=4, d=64, n=6, n_test=3)
    params = power_relu.build(task, width=6, power=1.0).init([0])
    relu = {"w": params["w"] / 8, "b": torch.zeros(1, 6).double(), "v": params["v"]}
    torch.testing.assert_close(
        power_relu.build(task, width=6, power=1.0).apply(params, task.x), two_layer_relu.forward(relu, task.x)
    )


def test_start_is_balanced():
    task = clusters.build([0, 1], k=4, d=64, n=6, n_test=3)
    params = power_relu.build(task, width=6, init_scale=0.02).init([0, 1])
    torch.testing.assert_close(params["w"].norm(dim=-1), params["v"].abs())
    torch.testing.assert_close(params["v"].abs(), torch.full((2, 6), 0.02, dtype=torch.float64))


def test_needs_clusters():
    with pytest.raises(ConfigError, match="needs data=clusters"):
        power_relu.build(separable.build([0]))
