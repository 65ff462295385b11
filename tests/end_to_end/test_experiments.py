"""The experiments of paper 2 and of the bridges from the command line to verdicts, at their smallest."""

import json

import pytest

from src import run as entry
from src.claims import columns
from src.claims import schema as claim_schema
from src.config import experiments, sweep

ALIKE = {"tnn_collapse", "tnn_fixed_steps", "tnn_matched_loss", "tnn_teacher_start", "tnn_width"}
"""Experiments that change a key or two of one that is run."""
EXPERIMENTS = [(paper, name) for paper in (2, "bridges") for name in experiments.of_paper(paper) if name not in ALIKE]


@pytest.mark.usefixtures("empty_figures")
@pytest.mark.parametrize(("paper", "experiment"), EXPERIMENTS)
def test_every_experiment_runs_and_its_claims_are_judged(paper, experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    words = [f"+experiment={experiment}", "profile=smoke", "tracking.mode=disabled", f"outputs={tmp_path}"]
    assert entry.run(words) == 0
    cells = list((tmp_path / experiment).glob("*/status.json"))
    assert len(cells) == len(sweep.expand(words)), "two cells share one identity"
    (claims,) = (tmp_path / "reports").glob("*/claims.json")
    judged = json.loads(claims.read_text())
    assert [record["id"] for record in judged] == [
        claim.id for claim in claim_schema.load(paper) if experiment in claim.experiments
    ]
    assert "was not measured" not in json.dumps(judged)
    assert not {record["verdict"] for record in judged} & {"reproduced", "contradicted"}, "one seed decides nothing"
    measured = columns.recorded(tmp_path / experiment)
    assert not [name for name in measured if not columns.of(experiment).has(name)], "the check of claims knows them all"
