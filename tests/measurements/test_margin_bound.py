"""n/Σρ_l ≤ γ̂^(−1/n) at any network, and equality where every layer is one singular value along one input."""

import pytest
import torch

from src.errors import ConfigError
from src.measurements import margin_bound, tensor_ranks
from src.models import tnn
from src.types import Snapshot, Task
from tests.tnn_problems import problem


def rows(task, model, params):
    snapshot = Snapshot(0, params, torch.zeros(len(next(iter(params.values())))))
    return tensor_ranks.build(task, model)(snapshot) | margin_bound.build(task, model)(snapshot)


@pytest.mark.parametrize("transform", ["dct", "dft", "identity", "haar", "random"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_ratio_never_exceeds_the_bound(transform, depth):
    task, model, params = problem(members=20, transform=transform, depth=depth, bias=False, coordinates="original")
    task = task._replace(y=model.apply(params, task.x).sign())  # so that all margins are positive
    row = rows(task, model, params)
    assert (row["product_margin"] > 0).all()
    assert (row["harmonic_ratio"] <= row["ratio_bound"] * (1 + 1e-12)).all()


def test_equality_for_layers_of_one_entry():
    x = torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    x[..., 0, 0] = 2.0
    task = Task(x, torch.ones(1, 1, dtype=torch.float64), x[0], torch.ones(1, dtype=torch.float64), {})
    model = tnn.build(task, width=3, depth=2, transform="identity", bias=False, scale=1.7)
    params = {name: torch.zeros_like(leaf) for name, leaf in model.init([0]).items()}
    params["w1"][0, 0, 0, 0], params["w2"][0, 0, 0, 0], params["v"][0, 0, 0] = 0.3, 5.0, 2.0
    row = rows(task, model, params)
    for column in ("product_margin", "ratio_bound", "harmonic_ratio"):
        torch.testing.assert_close(row[column], torch.ones(1, dtype=torch.float64))


def test_the_bound_is_infinite_with_a_misclassified_example():
    task, model, params = problem(bias=False)
    task = task._replace(y=-model.apply(params, task.x).sign())
    assert rows(task, model, params)["ratio_bound"].tolist() == [float("inf")]


@pytest.mark.parametrize("options", [{"bias": True}, {"bias": False, "transform": "authors"}])
def test_other_networks_are_rejected(options):
    task, model, _ = problem(**options)
    with pytest.raises(ConfigError, match=r"measurements=margin_bound: needs a t-NN without bias"):
        margin_bound.build(task, model)
