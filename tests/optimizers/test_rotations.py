"""``commutes`` is correct for every rule; reduced coordinates depend on it."""

from functools import partial

import pytest
import torch

from src.config.components import CONF, component
from src.config.schema import Component, arguments, option
from src.models import linear, mlp
from src.optimizers.rotations import commutes
from src.training.objectives import logistic
from tests.problems import linear_problem, network_problem, train

NAMES = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("steepest", {"norm": "linf"}),
    ("steepest", {"norm": "rows"}),
    ("steepest", {"norm": "lp", "p": 2}),
    ("steepest", {"norm": "lp", "p": 3}),
    ("scion", {"hidden": "l2"}),
    ("scion", {"hidden": "linf", "last": "spectral"}),
    ("torch_optimizer", {"path": "torch.optim.SGD", "arguments": {"momentum": 0.9}}),
]


def largest_change(node, task, build_model):
    """Return the relative change of the outputs of trained networks when inputs and first weights are rotated."""
    model = build_model(task)
    d = task.x.shape[-1]
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    rotated = task._replace(x=task.x @ rotation.mT, x_test=task.x_test @ rotation.mT)
    first, *_ = params = model.init(range(len(task.y)))
    outputs = []
    for data, start in ((task, params), (rotated, params | {first: params[first] @ rotation.mT})):
        network = build_model(data)
        rule = component("optimizer", node["name"])(data, network, **arguments("optimizer", Component(**node)))
        trained, _ = train(rule, logistic(data, network), data, start, 6)
        outputs.append(model.apply(trained, data.x_test))
    return float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max())


@pytest.mark.filterwarnings("ignore:optimizer")
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=lambda value: str(value))
def test_commutes_is_correct(name, changes, layers):
    node = option("optimizer", name).model_dump() | changes
    if name == "muon_newton_schulz":
        node["precision"] = "float64"  # in bfloat16 it commutes up to 1e-2
    if layers == 2:
        build, task = partial(mlp.build, width=5, scale=1.0), network_problem()[0]
    else:  # not from zero, so that the relative change is defined
        build, task = partial(linear.build, scale=0.3), linear_problem(shape=(6,))[0]
    change = largest_change(node, task, build)
    assert (change < 1e-8) if commutes(node, layers) else (change > 1e-3), change


@pytest.mark.parametrize("name", ["muon", "muon_newton_schulz"])
def test_a_step_scaled_by_the_number_of_columns_does_not_commute(name):
    node = option("optimizer", name).model_dump()
    assert commutes(node)
    assert not any(commutes(node | {"scaling": scaling}) for scaling in ("original", "match_rms"))
