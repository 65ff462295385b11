import sys
import types

import pytest
import torch

from src.errors import ConfigError
from src.optimizers import nmd, torch_optimizer
from src.types import Batch
from tests.problems import distance, network_problem, train


class Normalised(torch.optim.Optimizer):
    """A user-defined class: normalised descent with a step count in the group and averaged gradients in its state."""

    def __init__(self, params, lr, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta, "count": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["count"] += 1
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(group["beta"]).add_(p.grad)
            size = sum(self.state[p]["m"].square().sum() for p in group["params"]).sqrt()
            for p in group["params"]:
                p.sub_(group["lr"] * self.state[p]["m"] / size)


@pytest.fixture
def mine(monkeypatch):
    module = types.ModuleType("my_optimizers")
    module.Normalised, module.function = Normalised, len
    monkeypatch.setitem(sys.modules, "my_optimizers", module)


def test_a_user_defined_class_equals_the_same_rule(mine):
    task, model, risk = network_problem()
    params = model.init([0, 1])
    theirs = torch_optimizer.build(task, model, path="my_optimizers.Normalised", arguments={"beta": 0.9}, lr=0.3)
    ours = nmd.build(task, model, lr=0.3, momentum=0.9)
    assert distance(train(theirs, risk, task, params, 20)[0], train(ours, risk, task, params, 20)[0]) < 1e-10


def test_state_of_the_class_is_carried_along(mine):
    task, model, risk = network_problem()
    rule = torch_optimizer.build(task, model, path="my_optimizers.Normalised", lr=0.3)
    params = model.init([0, 1])
    state = rule.init(params)
    for _ in range(3):
        params, state = rule.update(params, state, *risk(params, Batch(task.x, task.y)))
    assert state["groups"][0]["count"] == 3
    assert state["state"][0]["m"].shape == params["w1"].shape


def test_gradient_of_the_log_risk_does_not_vanish():
    task, model, risk = network_problem()
    params, log_risk = train(nmd.build(task, model, lr=2.0), risk, task, model.init([0, 1]), 200)
    assert (log_risk < -60).all()
    moved = {}
    for gradient in ("risk", "log_risk"):
        rule = torch_optimizer.build(task, model, path="torch.optim.SGD", lr=0.1, gradient=gradient)
        moved[gradient] = distance(train(rule, risk, task, params, 1)[0], params)
    assert moved["risk"] < 1e-12 < 1e-6 < moved["log_risk"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "my_optimizers.Missing"}, r"optimizer\.path=my_optimizers\.Missing: cannot be imported"),
        ({"path": "no_such_module.Adam"}, "cannot be imported"),
        ({"path": "Adam"}, "cannot be imported"),
        ({"path": "my_optimizers.function"}, "must be a subclass of torch.optim.Optimizer"),
        ({"path": "torch.optim.Adam", "arguments": {"momentum": 0.9}}, r"optimizer\.arguments=.*rejected"),
    ],
)
def test_unusable_classes_are_rejected_in_one_line(mine, options, message):
    task, model, _ = network_problem()
    with pytest.raises(ConfigError, match=message):
        torch_optimizer.build(task, model, **options).init(model.init([0]))


def test_muon_of_torch_rejects_vectors():
    task, model, _ = network_problem()
    with pytest.raises(ConfigError, match="2D"):
        torch_optimizer.build(task, model, path="torch.optim.Muon").init({"w": torch.zeros(2, 5)})
