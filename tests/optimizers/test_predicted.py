import pytest
import torch

from src.config.components import CONF
from src.measurements import norm_margins
from src.optimizers.predicted import NAMES, predicted
from src.report.figures.paper3_rows import OWN
from src.types import Snapshot
from tests.problems import network_problem

NORM = {name: norm for name, norm in NAMES.items() if norm != "hyb"}


def columns(model, task, **options):
    snapshot = Snapshot(0, model.init([0, 1]), torch.zeros(2))
    return norm_margins.build(task, model, **options)(snapshot)


@pytest.mark.parametrize("name", NORM)
def test_own_columns_are_those_of_the_predicted_norm(name):
    task, model, _ = network_problem()
    columns_by_norm = columns(model, task)
    predicted_columns = columns(model, task, optimizer={"name": name})
    assert torch.equal(predicted_columns["gamma_own"], columns_by_norm[f"gamma_{NORM[name]}"])
    assert torch.equal(predicted_columns["kappa_own"], columns_by_norm[f"kappa_{NORM[name]}"])


@pytest.mark.parametrize("name", ["muon_signum", "muon_adam"])
def test_the_hybrid_norm_has_the_ratio_of_the_learning_rates(name):
    task, model, _ = network_problem()
    predicted_columns = columns(model, task, optimizer={"name": name, "ratio": 0.3})
    assert torch.equal(predicted_columns["kappa_own"], columns(model, task, ratio=0.3)["kappa_hyb"])


def test_steepest_descent_has_the_norm_of_its_config():
    task, model, _ = network_problem()
    predicted_columns = columns(model, task, optimizer={"name": "steepest", "norm": "schatten", "p": 3.0})
    curve = columns(model, task, schatten=[2.0, 3.0])
    assert torch.equal(predicted_columns["kappa_own"], curve["kappa_schatten_curve"][:, 1])
    assert set(curve["schatten_peak"].tolist()) <= {2.0, 3.0}


def test_figures_and_measurements_predict_the_same_norms():
    assert OWN.items() <= NAMES.items()
    assert predicted({"name": "torch_optimizer"}) is None


def test_an_optimizer_without_a_norm_has_no_own_columns():
    task, model, _ = network_problem()
    assert "kappa_own" not in columns(model, task, optimizer={"name": "torch_optimizer"})
    assert {path.stem for path in (CONF / "optimizer").glob("*.yaml")} >= set(NAMES)
