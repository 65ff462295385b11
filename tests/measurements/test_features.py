import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import features
from src.oracles.clusters import feature_averaging
from src.types import Snapshot, Task


def test_cosines_are_sorted_by_contribution():
    task = clusters.build([0, 1], k=4, d=64, n=8, n_test=1, negative=3)
    net = feature_averaging(task.facts["means"], task.facts["labels"])
    row = features.build(task, None)(Snapshot(0, net, None))
    # the neuron of one mean is 1/√d, the one of three means √(3/d); each times its v
    assert row["neuron_contribution"].tolist() == [pytest.approx([(3 / 64) ** 0.5, (1 / 64) ** 0.5])] * 2
    three = 3**-0.5
    assert row["neuron_mean_cosine"].tolist() == [pytest.approx([0, three, three, three, 1, 0, 0, 0])] * 2


def test_only_the_top_neurons_are_kept_and_zero_neurons_have_cosine_zero():
    task = clusters.build([0], k=2, d=64, n=4, n_test=1)
    w = torch.zeros(1, 3, 6).double()
    w[0, 2] = task.facts["means"][0, 1]
    net = {"w": w, "b": torch.ones(1, 3).double(), "v": torch.ones(1, 3).double()}
    row = features.build(task, None, top=2)(Snapshot(0, net, None))
    assert row["neuron_mean_cosine"].tolist() == [[0, 1, 0, 0]]
    assert row["neuron_contribution"].tolist() == [[8, 0]]


def test_data_without_means_are_rejected():
    with pytest.raises(ConfigError, match="data=clusters"):
        features.build(Task(None, None, None, None, {}), None)
