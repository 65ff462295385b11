"""The harmful interpolator, evaluated point by point, and its margin against the closed form O10."""

import math

import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import harmful_network
from src.models import two_layer_relu
from src.oracles import clusters as oracles
from src.types import Snapshot


def measured(task):
    model = two_layer_relu.build(task, width=2)
    return harmful_network.build(task, model)(Snapshot(0, model.init(task.facts["seeds"].tolist()), torch.zeros(1)))


@pytest.mark.parametrize("data", [{}, {"means": "sphere"}, {"negative": 1}, {"coordinates": "full"}], ids=str)
def test_fits_and_errs_on_all_fresh_points(data):
    row = measured(clusters.build([0, 1], k=4, d=2048, n=64, n_test=300, sigma=0.3, **data))
    assert row["harmful_train_error"].tolist() == [0, 0]
    assert row["harmful_test_points"].tolist() == row["harmful_test_errors"].tolist() == [300, 300]


def test_one_spike_per_point_and_nothing_else_at_the_means():
    task = clusters.build([0], k=4, d=2048, n=64, n_test=1, sigma=0.3)
    means, labels = task.facts["means"], task.facts["labels"]
    params = oracles.harmful_network(task.x, task.y, means, labels)
    assert params["v"].shape == (1, 64 + 2)
    assert torch.allclose(two_layer_relu.forward(params, means), -labels)
    # N(x) = Σⱼ vⱼ·relu(wⱼ·x + bⱼ) at each training point, neuron by neuron
    for i in range(64):
        hidden = torch.relu(params["w"][0] @ task.x[0, i] + params["b"][0]) * params["v"][0]
        assert float(hidden[2 + i]) == pytest.approx(2 * float(task.y[0, i]))
        assert float(hidden[2:].abs().sum()) == pytest.approx(2)


@pytest.mark.parametrize(("k", "sigma", "n"), [(4, 0.3, 64), (8, 1.0, 128), (2, 0.2, 32)])
def test_the_margin_is_smaller_than_that_of_feature_averaging_by_the_closed_form(k, sigma, n):
    d = 16384
    task = clusters.build([0, 1], k=k, d=d, n=n, n_test=1, sigma=sigma)
    ratio = task.facts["margin_oracle"] / measured(task)["harmful_margin"] / (n * math.sqrt(2 * d / k))
    closed = math.sqrt(1 + 4 / (sigma**2 * d)) + math.sqrt(k / (2 * d)) / n
    # the response of feature averaging to the noise of the n points lowers the least output
    least = 1 - math.sqrt(k / d) * sigma * math.sqrt(2 * math.log(n))
    assert (ratio >= closed * 0.99).all() and (ratio <= closed / least * 1.01).all()


def test_the_order_of_the_points_does_not_matter():
    task = clusters.build([0], k=4, d=1024, n=32, n_test=50, sigma=0.3)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    shuffled = task._replace(x=task.x[:, order], y=task.y[:, order])
    for name, values in measured(shuffled).items():
        torch.testing.assert_close(values, measured(task)[name])


def test_other_data_is_refused():
    task = clusters.build([0], k=2, d=64, n=8, n_test=1)
    with pytest.raises(ConfigError, match="needs data=clusters"):
        harmful_network.build(task._replace(facts={}), None)


def test_needs_noise():
    with pytest.raises(ConfigError, match=r"data\.sigma"):
        measured(clusters.build([0], k=4, d=256, n=16, n_test=1, sigma=0.0))
