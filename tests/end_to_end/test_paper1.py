"""Paper 1 as a newcomer runs it: every experiment at its smallest, killed once on the way, then verdicts and a page."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import reproduce
from src.claims import schema

ROOT = Path(__file__).resolve().parents[2]


def command(outputs):
    return [sys.executable, "scripts/reproduce.py", "1", "profile=smoke", "launcher=basic", f"outputs={outputs}"]


def again(outputs):
    """Give the same command in this process, which has imported torch already; return the exit code."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["reproduce"])
        patched.setenv("WANDB_MODE", "disabled")
        return reproduce.main(command(outputs)[2:])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Results of the command, interrupted by a kill of all its processes and given again."""
    folder = tmp_path_factory.mktemp("paper1")
    environment = os.environ | {"WANDB_MODE": "disabled"}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(folder), cwd=ROOT, env=environment, start_new_session=True, **silent)
    deadline = time.monotonic() + 600
    while len(list(folder.glob("*/*/summary.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = [path for path in folder.glob("*/*/status.json") if '"done"' in path.read_text()]
    finished = {path: path.stat().st_mtime_ns for path in done}
    assert again(folder) == 0
    assert finished, "the kill came too early to test anything"
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items()), "a finished cell was run again"
    return folder


def test_every_claim_has_a_verdict_and_its_evidence(outputs):
    records = json.loads((outputs / "reports/paper1-smoke/claims.json").read_text())
    assert [record["id"] for record in records] == [claim.id for claim in schema.load(1)]
    for record in records:
        assert record["verdict"] in ("reproduced", "contradicted", "inconclusive", "not run")
        assert record["cells"] or record["verdict"] in ("not run", "inconclusive")
        assert record["reason"] or record["verdict"] == "reproduced"


def test_figures_page_and_origin_of_every_figure(outputs):
    report = outputs / "reports/paper1-smoke"
    page = (report / "report.html").read_text()
    figures = sorted((report / "figures").glob("*.png"))
    assert len(figures) == 10
    for figure in figures:
        origin = json.loads(figure.with_suffix(".json").read_text())
        assert origin["cells"]
        assert origin["commands"]
        assert figure.with_suffix(".csv").stat().st_size
    assert page.count("<img") == 10
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_second_call_runs_and_draws_nothing(outputs):
    before = {path: path.stat().st_mtime_ns for path in outputs.rglob("*") if path.is_file()}
    assert again(outputs) == 0
    assert {path: path.stat().st_mtime_ns for path in outputs.rglob("*") if path.is_file()} == before


def test_all_experiments_agree_on_the_sound_inequalities(outputs):
    """certificate ≤ attack ≤ radius along z, on every point of every network of the suite."""
    for path in outputs.glob("cluster_*/*/summary.json"):
        for member in json.loads(path.read_text())["members"]:
            if "certificate_violations" in member:
                assert member["certificate_violations"] == 0, path
                assert member["attack_above_z"] == 0, path
