"""The protocol of paper 3 (v1): Table 1 at its size, and the stated rule at another one."""

import pytest

from src.config import sweep
from src.report.figures import published

TABLE_1 = {
    "relu_margin": {"ngd": 2.0, "nmd": 0.8, "signum": 5e-3, "adam": 6e-3, "muon": 0.2, "muon_adam": 0.05},
    "muon_margin": {"ngd": 1.5, "nmd": 0.3, "signum": 3e-3, "adam": 5e-3, "muon": 0.08, "muon_adam": 0.05},
}
EXPONENTS = {
    "relu_margin": {"signum": -1 / 2, "adam": -1 / 2, "muon_adam": -1 / 4},
    "muon_margin": {"signum": -1 / 3, "adam": -1 / 3},
}


def rates(experiment, *words):
    return {cell.optimizer.name: cell.optimizer.lr for cell in sweep.expand([f"+experiment={experiment}", *words])}


@pytest.mark.parametrize("experiment", TABLE_1)
def test_learning_rates_are_those_of_table_1_at_the_size_of_the_paper(experiment):
    found = rates(experiment, "profile=paper")
    assert found.pop("muon_signum") == found["muon_adam"]  # ours
    assert found == pytest.approx(TABLE_1[experiment])


@pytest.mark.parametrize("experiment", TABLE_1)
def test_at_another_width_the_rates_of_its_norm_follow_the_power_law(experiment):
    found = rates(experiment, "profile=paper", "model.width=128")
    for name, rate in TABLE_1[experiment].items():
        assert found[name] == pytest.approx(rate * (128 / 1024) ** EXPONENTS[experiment].get(name, 0), rel=1e-6)


def test_the_rest_of_the_protocol():
    cell = sweep.expand(["+experiment=muon_margin", "profile=paper", "optimizer=adam"])[0]
    options, model = cell.optimizer.model_dump(), cell.model.model_dump()
    assert (options["beta1"], options["beta2"], options["epsilon"], options["exponent"]) == (0.9, 0.999, 1e-20, 0.8)
    assert (model["depth"], model["power"], model["scale"]) == (2, 2, 0.01)
    assert cell.objective.model_dump() == {"name": "exponential", "reduction": "sum"}
    assert (cell.data.model_dump()["n"], cell.compare_at_loss[-1], len(cell.seeds)) == (2048, 1e-8, 10)


def test_published_values_have_every_rule_of_the_paper_in_every_norm():
    margins = published.margins()
    last = margins[margins["log10_loss"] < -7.9]
    assert last.groupby("power").size().to_dict() == {1.0: 18, 2.0: 18}
    assert (last["low"] <= last["high"]).all()
    muon = last[(last["optimizer_name"] == "muon") & (last["norm"] == "msp")].set_index("power")["mean"]
    assert muon.to_dict() == pytest.approx({1.0: 0.692, 2.0: 1.148}, rel=1e-3)
    assert published.cosines().groupby("optimizer_name").size().to_dict() == dict.fromkeys(
        ("adam", "muon", "nmd", "signum"), 8
    )
