import math

import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import margin, risk
from src.models.two_layer_relu import forward
from src.oracles.clusters import feature_averaging
from src.types import Model, Snapshot, Task


def linear_task(x: list, y: list) -> tuple[Task, Model]:
    """Return task and model of a linear network with shared data."""
    task = Task(torch.tensor(x).double(), torch.tensor(y).double(), torch.empty(0, 2), torch.empty(0), {})
    return task, Model(lambda seeds: {}, lambda params, x: params["w"] @ x.mT, degree=1)


def snapshot(**params: torch.Tensor) -> Snapshot:
    return Snapshot(3, params, torch.tensor([-1.0, -2.0]).double())


def test_margins_of_a_linear_model():
    task, model = linear_task([[1, 0], [0, -2]], [1, -1])
    row = margin.build(task, model)(snapshot(w=torch.tensor([[3.0, 4.0], [1.0, 0.0]]).double()))
    # q = (3, 8) at ‖w‖ = 5, and q = (1, 0) at ‖w‖ = 1
    assert row["margin"].tolist() == pytest.approx([3 / 5, 0])
    smoothed = [-math.log(math.exp(-3) + math.exp(-8)) / 5, -math.log(math.exp(-1) + 1)]
    assert row["smoothed_margin"].tolist() == pytest.approx(smoothed)
    p = math.exp(-8) / (math.exp(-3) + math.exp(-8))
    assert row["slackness_softmax"][0].item() == pytest.approx(p * (8 / 3 - 1))
    assert row["slackness_softmax"][1].isnan()
    assert "margin_ratio" not in row


def test_margins_do_not_underflow():
    task, model = linear_task([[1, 0], [0, -2]], [1, -1])
    row = margin.build(task, model)(snapshot(w=torch.full((2, 2), 1e6).double()))
    assert row["smoothed_margin"].tolist() == pytest.approx([1 / math.sqrt(2)] * 2)


def test_margin_ratio_is_one_at_feature_averaging():
    task = clusters.build([0, 1], k=6, d=256, n=12, n_test=1, sigma=0.0, negative=2)
    net = feature_averaging(task.facts["means"], task.facts["labels"])
    for scale in (1.0, 30.0):  # a normalised margin is invariant to scale
        scaled = {name: scale * leaf for name, leaf in net.items()}
        row = margin.build(task, Model(None, forward, 2))(Snapshot(0, scaled, torch.zeros(2)))
        assert row["margin_ratio"].tolist() == pytest.approx([1, 1])
        assert (row["smoothed_margin"] <= row["margin"]).all()


def test_a_network_without_degree_has_no_normalised_margin():
    task, model = linear_task([[1, 0]], [1])
    with pytest.raises(ConfigError, match="homogeneous"):
        margin.build(task, model._replace(degree=None))


def test_risk_and_norm():
    task, model = linear_task([[1, 0]], [1])
    row = risk.build(task, model)(snapshot(w=torch.tensor([[3.0], [0.0]]), v=torch.tensor([[[4.0]], [[1.0]]])))
    assert row["log_risk"].tolist() == [-1, -2]
    assert row["norm"].tolist() == [5, 1]
