import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import errors
from src.models.two_layer_relu import forward
from src.oracles.clusters import averaging_test_error, feature_averaging
from src.types import Model, Snapshot, Task


def test_an_output_of_zero_is_an_error():
    x = torch.tensor([[1.0], [0.0], [-1.0], [2.0]])
    y = torch.tensor([1.0, 1.0, 1.0, -1.0])
    model = Model(None, lambda params, x: params["w"] @ x.mT, 1)
    row = errors.build(Task(x, y, x[:1], y[:1], {}), model)(Snapshot(0, {"w": torch.tensor([[1.0], [-1.0]])}, None))
    assert row["train_error"].tolist() == [0.75, 0.5]
    assert row["test_error"].tolist() == [0, 1]
    assert row["test_errors"].tolist() == [0, 1]
    assert row["test_points"].tolist() == [1, 1]


def linear_model() -> Model:
    return Model(None, lambda params, x: (x @ params["w"].mT).squeeze(-1), 1)


def test_fresh_points_are_streamed_and_counted():
    task = clusters.build([0, 1], k=4, d=64, n=8, n_test=1, sigma=4.0)
    linear = (task.facts["labels"][..., None] * task.facts["means"]).sum(1, keepdim=True)
    snapshot = Snapshot(0, {"w": linear}, None)
    measure = errors.build(task, linear_model(), points=10_000)
    row = measure(snapshot)
    assert row["test_points"].tolist() == [10_000, 10_000]
    assert torch.equal(row["test_errors"], measure(snapshot)["test_errors"])
    # the exact error of the linear predictor Σ_q y_q μ_q, which is that for infinitely many training points
    expected = averaging_test_error(64, 4, 4.0, 10**9)
    assert row["test_error"].tolist() == pytest.approx([expected] * 2, abs=4 * (expected / 10_000) ** 0.5)
    assert row["test_errors"][0] != row["test_errors"][1]


def test_chunks_are_independent_samples(monkeypatch):
    task = clusters.build([0], k=4, d=64, n=8, n_test=1)
    seen = []
    model = Model(None, lambda params, x: seen.append(x) or torch.ones(x.shape[:-1]), 1)
    monkeypatch.setattr(errors, "_CHUNK", 10)
    row = errors.build(task, model, points=25)(Snapshot(0, {}, None))
    assert row["test_points"].tolist() == [25]
    fresh = torch.cat(seen[1:], 1)
    assert fresh.shape == (1, 25, 12)
    assert len(fresh[0].unique(dim=0)) == 25


def test_points_need_data_that_can_be_drawn():
    with pytest.raises(ConfigError, match="data=clusters"):
        errors.build(Task(None, None, None, None, {}), None, points=5)


def test_feature_averaging_makes_no_error_on_clusters():
    task = clusters.build([0, 1], k=4, d=4096, n=32, n_test=200, sigma=0.3)
    net = feature_averaging(task.facts["means"], task.facts["labels"])
    row = errors.build(task, Model(None, forward, 2))(Snapshot(0, net, None))
    assert row["train_error"].tolist() == row["test_error"].tolist() == [0, 0]
