"""Properties of every optimizer of conf/optimizer: it lowers the risk, batches, resumes, and is a pure function."""

import copy
import io
import warnings

import pytest
import torch

from src.config.components import CONF, component
from src.config.schema import Component, arguments, option
from src.types import Batch
from tests.problems import distance, network_problem, train

NAMES = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))


def from_yaml(name, task, model, **changes):
    node = option("optimizer", name).model_dump() | changes
    assert node["name"] == name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return component("optimizer", name)(task, model, **arguments("optimizer", Component(**node)))


def small_steps(name):
    return {} if name == "margin_flow" else {"lr": 0.01}


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_lower_the_risk(name):
    task, model, risk = network_problem(members=3)
    params, batch = model.init([0, 1, 2]), Batch(task.x, task.y)
    moved, _ = train(from_yaml(name, task, model, **small_steps(name)), risk, task, params, 2)
    assert (risk(moved, batch)[0] < risk(params, batch)[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_batched_equals_one_by_one(name):
    task, model, risk = network_problem(members=3)
    params = model.init([0, 1, 2])
    rule = from_yaml(name, task, model)
    together, _ = train(rule, risk, task, params, 10)
    for i in range(3):
        own_task = task._replace(x=task.x[[i]], y=task.y[[i]])
        alone, _ = train(rule, risk, own_task, {key: leaf[[i]] for key, leaf in params.items()}, 10)
        assert distance(alone, {key: leaf[[i]] for key, leaf in together.items()}) < 1e-8


@pytest.mark.parametrize("name", [name for name in NAMES if name != "margin_flow"])
def test_members_may_have_their_own_learning_rate(name):
    task, model, risk = network_problem(members=2)
    params = model.init([0, 1])
    listed, _ = train(from_yaml(name, task, model, lr=[0.01, 0.1]), risk, task, params, 5)
    for i, lr in enumerate((0.01, 0.1)):
        single, _ = train(from_yaml(name, task, model, lr=lr), risk, task, params, 5)
        assert (
            distance({k: leaf[[i]] for k, leaf in single.items()}, {k: leaf[[i]] for k, leaf in listed.items()}) < 1e-12
        )


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_file_bit_for_bit(name):
    task, model, risk = network_problem()
    rule, batch = from_yaml(name, task, model), Batch(task.x, task.y)
    params = model.init([0, 1])
    state = rule.init(params)
    for step in range(6):
        if step == 3:
            file = io.BytesIO()
            torch.save({"params": params, "state": state}, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
            again, again_state = saved["params"], saved["state"]
        params, state = rule.update(params, state, *risk(params, batch))
        if step >= 3:
            again, again_state = rule.update(again, again_state, *risk(again, batch))
    assert all(torch.equal(again[key], params[key]) for key in params)


@pytest.mark.parametrize("name", NAMES)
def test_update_is_a_pure_function(name):
    task, model, risk = network_problem()
    rule, batch = from_yaml(name, task, model), Batch(task.x, task.y)
    params = model.init([0, 1])
    state = rule.init(params)
    for _ in range(2):
        before = copy.deepcopy((params, state))
        after = rule.update(params, state, *risk(params, batch))
        torch.testing.assert_close((params, state), before, rtol=0, atol=0, equal_nan=True)
        params, state = after


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_state_leads_with_members(name):
    task, model, risk = network_problem(members=3)
    rule, params = from_yaml(name, task, model), model.init([0, 1, 2])
    _, state = rule.update(params, rule.init(params), *risk(params, Batch(task.x, task.y)))

    def tensors(tree):
        if isinstance(tree, dict):
            return [leaf for value in tree.values() for leaf in tensors(value)]
        return [tree] if isinstance(tree, torch.Tensor) else []

    assert tensors(state)
    assert all(len(leaf) == 3 for leaf in tensors(state))


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_kept_and_accurate(name):
    task, model, risk = network_problem()
    params = model.init([0, 1])
    half_width = {key: leaf.float() for key, leaf in params.items()}
    narrow_task = task._replace(x=task.x.float(), y=task.y.float())
    double, _ = train(from_yaml(name, task, model, **small_steps(name)), risk, task, params, 5)
    single, _ = train(from_yaml(name, narrow_task, model, **small_steps(name)), risk, narrow_task, half_width, 5)
    assert all(leaf.dtype == torch.float32 for leaf in single.values())
    tolerance = 2e-2 if name == "muon_newton_schulz" else 1e-4
    assert distance(double, {key: leaf.double() for key, leaf in single.items()}) < tolerance
