"""The experiments between the papers from the command line to verdicts, at their smallest."""

import json

import pytest

from src import run as entry
from src.claims import columns
from src.claims import schema as claim_schema
from src.config import experiments


@pytest.mark.usefixtures("empty_figures")
@pytest.mark.parametrize("experiment", experiments.of_paper("bridges"))
def test_every_experiment_runs_and_its_claims_are_judged(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])
    assert (
        entry.run([f"+experiment={experiment}", "profile=smoke", "tracking.mode=disabled", f"outputs={tmp_path}"]) == 0
    )
    (claims,) = (tmp_path / "reports").glob("*/claims.json")
    judged = json.loads(claims.read_text())
    assert [record["id"] for record in judged] == [
        claim.id for claim in claim_schema.load("bridges") if experiment in claim.experiments
    ]
    assert "was not measured" not in json.dumps(judged)
    assert not {record["verdict"] for record in judged} & {"reproduced", "contradicted"}, "one seed decides nothing"
    measured = columns.recorded(tmp_path / experiment)
    assert not [name for name in measured if not columns.of(experiment).has(name)], "the check of claims knows them all"
