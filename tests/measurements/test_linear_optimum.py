import pytest
import torch

from src.errors import ConfigError
from src.measurements import linear_optimum
from src.optimizers import adam, muon, nmd, signum, steepest
from src.oracles.max_margin import max_margin
from src.types import Snapshot
from tests.problems import linear_problem, network_problem, train

STEPS = 2000


@pytest.mark.parametrize(
    ("rule", "options", "norm", "least"),
    [
        (nmd, {"lr": 0.4}, "l2", 0.99),
        (signum, {"lr": 0.2}, "linf", 0.99),
        (muon, {"lr": 0.4}, "msp", 0.98),
        (steepest, {"lr": 0.3, "norm": "rows"}, "rows", 0.98),
        (adam, {"lr": 0.05, "beta2": 0.9}, "linf", 0.96),
    ],
    ids=["nmd", "signum", "muon", "rows", "adam"],
)
def test_every_rule_reaches_the_exact_optimum_of_its_norm(rule, options, norm, least):
    """Train with η ∝ t^{−1/2} on eight separable 3×4 matrices, three draws; the gap falls like t^{−1/2}.

    Rules of other norms stay below 0.97, and below 0.8 for linf.
    """
    task, model, risk = linear_problem(members=3)
    measure = linear_optimum.build(task, model, norms=["l2", "linf", "msp", "rows"])
    built = rule.build(task, model, exponent=0.5, **options)
    params, log_risk = train(built, risk, task, model.init([0, 1, 2]), STEPS)
    columns = measure(Snapshot(STEPS, params, log_risk))
    assert (columns[f"ratio_{norm}"] >= least).all()
    for name in ("l2", "linf", "msp", "rows"):
        assert (columns[f"certified_{name}"] <= columns[f"ratio_{name}"] * (1 + 1e-6)).all()
        assert (columns[f"ratio_{name}"] <= 1 + 1e-6).all()
    assert (columns[f"certified_{norm}"] >= 0.95).all(), "the weights of training prove it without a solver"


@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_ratio_is_one_at_the_optimum(shape):
    task, model, _ = linear_problem(members=2, shape=shape)
    columns = {}
    for norm in ("l2", "linf"):
        optima = [max_margin(task.x[i].numpy(), task.y[i].numpy(), norm) for i in range(2)]
        params = {"w": 7.0 * torch.stack([torch.tensor(optimum.separator[0]) for optimum in optima])}
        columns = linear_optimum.build(task, model, norms=["l2", "linf"])(Snapshot(0, params, torch.zeros(2)))
        torch.testing.assert_close(columns[f"ratio_{norm}"], torch.ones(2, dtype=torch.float64))
        assert columns[f"optimum_{norm}"].tolist() == [optimum.margin for optimum in optima]


def test_shared_examples_are_solved_once_for_all_members():
    task, model, _ = linear_problem(members=1)
    shared = task._replace(x=task.x[0], y=task.y[0])
    params = {"w": torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)}
    columns = linear_optimum.build(shared, model, norms=["l2"])(Snapshot(0, params, torch.zeros(3)))
    alone = linear_optimum.build(task, model, norms=["l2"])(Snapshot(0, {"w": params["w"][[1]]}, torch.zeros(1)))
    for name in columns:
        torch.testing.assert_close(columns[name][1], alone[name][0])


def test_needs_a_linear_model():
    task, model, _ = network_problem()
    with pytest.raises(ConfigError, match="needs a linear model"):
        linear_optimum.build(task, model)
