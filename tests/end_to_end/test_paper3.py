"""Paper 3 from the command line to verdicts, at its smallest."""

import json
import sys
from math import log

import pytest

from src import run as entry
from src.claims import columns, verdicts
from src.results import store

OVERRIDES = ["profile=smoke", "tracking.mode=disabled"]


def run(experiment, outputs, *overrides):
    return entry.run([f"+experiment={experiment}", *OVERRIDES, f"outputs={outputs}", *overrides])


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])


def rows_of(outputs, experiment):
    return store.frame(sorted(path.parent for path in (outputs / experiment).glob("*/status.json")))


def test_seven_optimizers_and_the_claims_on_them(tmp_path):
    assert run("muon_margin", tmp_path, "log_points=4", "report=false") == 0
    rows = rows_of(tmp_path, "muon_margin")
    final = rows[rows["final"]]
    assert sorted(final["optimizer_name"]) == ["adam", "muon", "muon_adam", "muon_signum", "ngd", "nmd", "signum"]
    assert final["kappa_own"].between(0, 1).all()
    resting = [claim for claim in verdicts.load(3) if "muon_margin" in claim.experiments]
    judged = verdicts.judge(resting, {"muon_margin": rows})
    assert len(judged) >= 7
    assert {result.verdict for result in judged} <= {"inconclusive", "not run"}, "one seed decides nothing"
    measured = columns.recorded(tmp_path / "muon_margin")
    assert not [name for name in measured if not columns.of("muon_margin").has(name)], (
        "the check of claims knows them all"
    )


def test_a_row_where_the_loss_is_first_reached(tmp_path):
    assert run("muon_margin", tmp_path, "optimizer=nmd", "seeds=[7,8]", "optimizer.lr=0.5", "compare_at_loss=[0.1,10]",
               "log_points=4", "report=false") == 0  # fmt: skip
    rows = rows_of(tmp_path, "muon_margin")
    matched = rows[rows["matched"].notna()]
    assert sorted(zip(matched["seed"], matched["matched"], strict=True)) == [(7, 0.1), (7, 10), (8, 0.1), (8, 10)]
    assert set(rows["optimizer_lr"]) == {0.5}
    for _, row in matched.iterrows():
        mine = rows[rows["member"] == row["member"]]
        assert row["log_risk"] <= log(row["matched"]) < mine[mine["step"] < row["step"]]["log_risk"].min()
    assert (rows.groupby(["member", "step"]).size() == 1).all()


def test_linear_models_against_their_exact_optima(tmp_path):
    assert run("linear_margin", tmp_path, "optimizer=nmd,muon", "steps=50", "report=false") == 0
    rows = rows_of(tmp_path, "linear_margin")
    final = rows[rows["final"]]
    assert sorted(zip(final["data_name"], final["optimizer_name"], strict=True)) == [
        ("mnist", "muon"), ("mnist", "nmd"), ("separable", "muon"), ("separable", "nmd"),
    ]  # fmt: skip
    for norm in ("l2", "linf", "msp"):
        assert (final[f"ratio_{norm}"] <= 1 + 1e-6).all()


def test_cifar_of_the_repository_needs_no_archive(tmp_path):
    assert run("cifar_margin", tmp_path, "optimizer=nmd", "steps=5", "report=false") == 0
    assert rows_of(tmp_path, "cifar_margin")["final"].any()
    (folder,) = (tmp_path / "cifar_margin").glob("*/provenance.json")
    assert set(json.loads(folder.read_text())["data"]) == {
        f"airplane_automobile_{part}.bin{end}" for part in ("train", "test") for end in ("", ".gz")
    }


def test_classes_that_are_not_in_the_repository_are_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("src.data.cifar10.FOLDER", tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert run("cifar_margin", tmp_path, "optimizer=nmd", "data.positive=[3]", "data.files=auto", "report=false") == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "data.name" in line]
    assert len(lines) == 1
    assert "cifar-10-binary.tar.gz" in lines[0]
