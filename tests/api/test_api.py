"""The front door gives what the parts give, with the checks of configurations."""

import inspect

import pytest
import torch

from src import api
from src.config import components
from src.errors import ConfigError
from src.measurements import norm_margins, risk
from src.optimizers import muon
from src.runner import build
from src.training.objectives import logistic
from src.types import Snapshot
from tests.problems import distance
from tests.problems import train as plain_train

GROUPS = {
    "data": api.data,
    "model": api.models,
    "objective": api.objectives,
    "optimizer": api.optimizers,
    "measurements": api.measurements,
}


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group in GROUPS for name in sorted(components.names(group))]
)
def test_every_component_is_a_documented_function(group, name):
    function = getattr(GROUPS[group], name)
    assert name in dir(GROUPS[group])
    assert function.__name__ == name
    assert function.__doc__
    keys = {key for key, one in inspect.signature(function).parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert keys - {"seeds"} == set(inspect.signature(components.component(group, name)).parameters) & keys


def test_unknown_names_and_arguments_name_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'muon'"):
        _ = api.optimizers.muno
    with pytest.raises(ConfigError, match=r"optimizer\.lr=0: must be a number > 0"):
        api.optimizers.muon(lr=0)
    with pytest.raises(ConfigError, match="did you mean 'momentum'"):
        api.optimizers.muon(momentun=0.9)


@pytest.mark.filterwarnings("ignore:optimizer")
def test_train_equals_a_plain_loop_and_measurements_the_plain_ones():
    task = api.data.separable(seeds=[3, 4], shape=[6], n=12, margin=1.0)
    model = api.models.mlp(task, width=5)
    result = api.train(task, model, api.objectives.logistic(), api.optimizers.muon(lr=0.3), steps=20)
    rule = muon.build(task, model, lr=0.3)
    params, log_risk = plain_train(rule, logistic(task, model), task, model.init([3, 4]), 20)
    assert distance(result.snapshot.params, params) == 0
    columns = api.measurements.norm_margins(result, norms=["l2", "msp"])
    expected = norm_margins.build(task, model, norms=["l2", "msp"])(Snapshot(20, params, log_risk))
    assert columns.keys() == expected.keys()
    assert all(torch.equal(columns[name], expected[name]) for name in columns)


def test_a_run_of_the_command_line_has_the_same_numbers():
    from src.config import sweep

    words = ["profile=smoke", "data.coordinates=full", "data.d=64", "data.n=16", "data.k=4", "seeds=[5,6]"]
    (config,) = sweep.expand([*words, "model.width=6", "objective=logistic", "optimizer=signum"])
    parts = build.assemble(config)
    begin = build.start(config, parts)
    task = api.data.clusters(seeds=[5, 6], d=64, n=16, k=4, coordinates="full")
    assert torch.equal(task.x, parts.task.x)
    start = api.initial(task, api.models.two_layer_relu(task, width=6)).snapshot
    assert distance(start.params, begin.params) == 0


def test_curves_have_the_measured_steps():
    task = api.data.separable(seeds=[0], shape=[6], n=12)
    model = api.models.mlp(task, width=5)
    result = api.train(task, model, api.objectives.logistic(), api.optimizers.nmd(), steps=50, log_points=[0, 0.5])
    assert [snapshot.step for snapshot in result.snapshots] == [0, 25, 50]
    risks = [float(api.measurements.risk(moment)["log_risk"]) for moment in result.moments]
    assert risks == [float(risk.build(task, model)(snapshot)["log_risk"]) for snapshot in result.snapshots]


def test_training_ends_at_the_loss():
    task = api.data.separable(seeds=[0, 1], shape=[6], n=12, margin=1.0)
    model = api.models.mlp(task, width=5)
    rule, objective = api.optimizers.nmd(lr=2), api.objectives.logistic()
    result = api.train(task, model, objective, rule, steps=5000, until_loss=1e-3)
    assert result.snapshot.step % 100 == 0
    assert result.snapshot.step < 5000
    assert (result.snapshot.log_risk.exp() <= 1e-3).all()
