import pytest
import torch

from src.attacks.boundary import nearest_boundary
from src.attacks.minimal import minimal_attack
from src.data import clusters
from src.errors import ConfigError
from src.measurements import ceiling
from src.models import power_relu, two_layer_relu
from src.types import Snapshot


def one_neuron_per_cluster(task, power):
    means, labels = task.facts["means"], task.facts["labels"]
    unit = means / means.norm(dim=-1, keepdim=True)
    return power_relu.build(task, width=labels.shape[1], power=power), {"w": unit, "v": labels.clone()}


@pytest.mark.parametrize(("power", "squared"), [(3.0, 1 / 2), (1.0, 1 / 4)], ids=["cubes", "relu"])
def test_radius_of_one_neuron_per_cluster_is_the_closed_form(power, squared):
    """d/2 for p > 2, and d/(1 + k/2) for p = 1, at k = 6 without noise."""
    task = clusters.build([0, 1], k=6, d=64, n=6, n_test=4, sigma=0.0)
    model, params = one_neuron_per_cluster(task, power)
    row = ceiling.build(task, model, pairs=4)(Snapshot(0, params, torch.zeros(2)))
    torch.testing.assert_close(
        row["boundary_median"], torch.full((2,), (64 * squared) ** 0.5).double(), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(row["mean_cosine"], torch.ones(2).double())
    assert (row["ceiling_error"] >= row["ceiling_floor"]).all() and (row["nearest_error"] >= row["ceiling_floor"]).all()


def test_zeros_of_a_relu_network_are_not_nearer_than_the_exact_attack():
    task = clusters.build([0], k=4, d=30, n=4, n_test=12, sigma=0.3, coordinates="full")
    network = {
        name: leaf.double() for name, leaf in two_layer_relu.build(task, width=6, init="groups").init([0]).items()
    }
    x, y = task.x_test, task.y_test
    starts = -y[..., None, None] * (task.facts["labels"][..., None] * task.facts["means"]).sum(-2)[:, None, None]

    def margin(delta):
        return y[..., None] * two_layer_relu.forward(network, (x[:, :, None] + delta).flatten(1, 2)).view(1, 12, -1)

    found = nearest_boundary(margin, starts.expand(1, 12, 1, 30), reach=10.0).radius
    exact = minimal_attack(network, x, y, starts.expand(1, 12, 1, 30)).radius
    assert (found >= exact * (1 - 1e-6)).all() and (found <= 1.2 * exact).all()


def test_a_classifier_that_is_constant_errs_on_half_of_the_pairs():
    task = clusters.build([0], k=4, d=16, n=4, n_test=4)
    model = power_relu.build(task, width=2)
    params = {"w": task.facts["means"].sum(1, keepdim=True).expand(1, 2, -1), "v": torch.ones(1, 2).double()}
    row = ceiling.build(task, model, pairs=5)(Snapshot(0, params, torch.zeros(1)))
    assert float(row["ceiling_error"]) >= 0.5 == float(row["ceiling_floor"])


def test_means_must_be_orthogonal():
    task = clusters.build([0], k=4, d=16, n=4, n_test=4, means="equicorrelated", rho=0.2)
    with pytest.raises(ConfigError, match="orthogonal means"):
        ceiling.build(task, None)
