"""Reports, verdicts and exit codes of complete and incomplete sweeps."""

import errno
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.report import finalize
from tests import fabricated


@pytest.fixture
def widths(tmp_path, monkeypatch):
    """Return the configs of a finished sweep over the width; figures are not drawn, which takes most of the time."""
    monkeypatch.setattr(finalize.paper_page.exhibits, "draw", lambda plot, *_: {"plot": plot, "note": "not drawn"})
    cells = fabricated.sweep(tmp_path, "cluster_width", {"model.width": [4, 16, 64, 256, 1024]})
    shared = {"name": "cluster_width", "paper": 1, "profile": "default", "outputs": str(tmp_path), "report": True}
    shared |= {"tracking": SimpleNamespace(mode="disabled", project="none")}
    return [SimpleNamespace(**shared, folder=cell) for cell in cells]


def concluded(configs):
    said = []
    code = finalize.experiments({"cluster_width": configs}, [], said.append)
    claims = json.loads((Path(configs[0].outputs) / "reports/cluster_width/claims.json").read_text())
    (claim,) = [claim for claim in claims if claim["id"] == "P1-C10"]
    return code, claim, "\n".join(said)


def test_a_claim_is_not_reproduced_by_what_is_left_of_a_sweep(widths):
    code, claim, said = concluded(widths)
    assert (code, claim["id"], claim["verdict"]) == (0, "P1-C10", "reproduced")
    (widths[2].folder / "status.json").write_text('{"state": "failed", "reason": "out of memory"}')
    code, claim, said = concluded(widths)
    assert (code, claim["verdict"]) == (1, "inconclusive")
    assert claim["reason"] == "1 of 5 cells of cluster_width is missing"
    assert claim["reason"] in said


def test_some_experiments_of_a_paper_have_a_report_of_their_own(widths, tmp_path):
    absent = SimpleNamespace(
        **vars(widths[0]) | {"name": "cluster_noise", "folder": tmp_path / "cluster_noise" / "absent"}
    )
    assert finalize.experiments({"cluster_width": widths, "cluster_noise": [absent]}, [], lambda line: None) == 1
    (folder,) = (path.parent for path in tmp_path.glob("reports/*/claims.json"))
    judged = {claim["id"]: claim["verdict"] for claim in json.loads((folder / "claims.json").read_text())}
    assert folder.name == "paper1-cluster_width-cluster_noise"
    assert judged == {"P1-C10": "reproduced", "P1-C17": "inconclusive"}


def test_a_cell_that_a_sweep_names_twice_is_missed_once_or_not_at_all(widths):
    assert concluded([*widths, widths[0]])[1]["verdict"] == "reproduced"


def test_a_sweep_of_ones_own_is_whole_when_its_own_cells_are_there(widths):
    assert concluded(widths[:4])[1]["verdict"] == "reproduced"


def test_commands_of_a_report_run_anywhere_and_compute_nothing_again():
    words = ["profile=smoke", "outputs=/home/jane doe/out", "force=true", "launcher=submitit", "data.k=4"]
    words += ["hydra.launcher.partition=lab", "tracking.mode=online"]
    command = finalize._commands(["cluster_width"], words)["cluster_width"]
    assert command == "python -m src.run +experiment=cluster_width profile=smoke outputs=…/out data.k=4"


@pytest.mark.parametrize(
    ("word", "other_report"),
    [
        ("profile=smoke", False),
        ("profiles.smoke.data.d=256", True),
        ("tracking.mode=online", False),
        ("hydra.launcher.n_jobs=2", False),
        ("launcher=basic", False),
        ("hydra/launcher=basic", False),
        ("forced.by=me", True),
        ("report=false", False),
        ("data.folder=there", False),
        ("data.d=256", True),
        ("+experiment=cluster_width", False),
        ("~data.rho", True),
    ],
)
def test_only_overrides_that_change_no_number_share_the_genuine_report(word, other_report):
    assert (finalize._mark([word]) is not None) == other_report


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["optimizer=muon", "data.d=512"], {"optimizer": "optimizer=margin_flow, not for muon"}),
        (["optimizer=ngd,margin_flow"], {"optimizer": "optimizer=margin_flow, not for ngd"}),
        (["objective=logistic"], {"objective": "objective=exponential, not for logistic"}),
        (["data.d=512", "seeds=[7]"], {}),
        (["optimizer.alpha=0.1"], {}),
    ],
)
def test_a_protocol_is_what_an_experiment_names(words, reason):
    words = ["+experiment=cluster_k_scaling", "profile=smoke", "data.k=2", *words]
    assert finalize.sweep.other_protocol(finalize.sweep.expand(words), words) == reason


def test_options_that_an_experiment_sweeps_are_its_protocol():
    for experiment, word in (("muon_margin", "optimizer=adam"), ("cluster_trainers", "variant/cluster_trainers=gd")):
        words = [f"+experiment={experiment}", word]
        assert not finalize.sweep.other_protocol(finalize.sweep.expand([*words, "profile=smoke"]), words)
    words = ["+experiment=tnn_generalization_gap", "profile=smoke", "protocol=released_code"]
    reasons = finalize.sweep.other_protocol(finalize.sweep.expand(words), words)
    assert reasons == {"protocol": "protocol=theory, not for released_code"}


def test_claims_are_not_judged_on_another_protocol(widths, monkeypatch):
    monkeypatch.setattr(finalize.sweep, "other_protocol", lambda configs, overrides: {"model": "model=A, not for B"})
    code, claim, _ = concluded(widths)
    assert (code, claim["verdict"], claim["reason"]) == (0, "not run", "made for model=A, not for B")
    assert claim["estimate"] is not None
    assert {part["verdict"] for part in claim["parts"]} == {"not run"}


def test_without_a_verdict_numbers_are_shown_on_any_grid():
    claims = [claim for claim in finalize.claim_schema.load(1) if any(number.min_distinct for number in claim.numbers)]
    assert claims
    for claim in claims:
        assert not any(number.min_distinct for number in claim.without_minimum().numbers)


FAILURES = [
    (RuntimeError("Failed to process string with tex\nlatex was not found"), 2, "report: RuntimeError: Failed to"),
    (OSError(errno.ENOSPC, "No space left on device"), 2, "reports/cluster_width: cannot be written or read: no space"),
    (PermissionError(errno.EACCES, "Permission denied", "page"), 0, "report=page: cannot be written or read"),
    (OSError(errno.EROFS, "Read-only file system", "page"), 0, "cannot be written or read: read-only file system"),
]


@pytest.mark.parametrize(("error", "code", "line"), FAILURES, ids=lambda value: type(value).__name__)
def test_verdicts_come_first_and_a_report_that_cannot_be_made_is_one_line(error, code, line, widths, monkeypatch):
    monkeypatch.setattr(finalize.paper_page, "build", _raising(error))
    said = []
    assert finalize.experiments({"cluster_width": widths}, [], said.append) == code
    assert re.search(r"P1-C10 +reproduced", said[0])
    assert [line in text and "\n" not in text for text in said] == [False, True, False]


@pytest.mark.parametrize("call", ["wandb_mirror.log_report", "index_page.write"])
def test_a_mirror_that_fails_holds_nothing_back(call, widths, monkeypatch):
    module, name = call.split(".")
    monkeypatch.setattr(getattr(finalize, module), name, _raising(ValueError("out of order")))
    code, claim, said = concluded(widths)
    assert (code, claim["verdict"]) == (2 if module == "index_page" else 0, "reproduced")
    assert said.index("P1-C10") < said.index("out of order") and said.count("out of order") == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 1}'])
def test_a_report_whose_list_of_files_is_damaged_is_made_anew(text, widths, tmp_path):
    concluded(widths)
    inputs = tmp_path / "reports" / "cluster_width" / "inputs.json"
    before = inputs.read_text()
    inputs.write_text(text)
    assert concluded(widths)[0] == 0
    assert inputs.read_text() == before


def _raising(error):
    def fail(*args, **settings):
        raise error

    return fail
