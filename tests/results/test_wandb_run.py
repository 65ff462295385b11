"""W&B runs are complete; a failure of W&B causes one warning and a bounded delay."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from src.results import wandb_run

ROOT = Path(__file__).parents[2]
WANDB = Path(sys.executable).parent / "wandb"
HANGS = 300  # seconds; a run that waits for a server that hangs waits for ever at its end
ABOUT = {
    "id": "cell0", "project": "suite", "name": "k=4", "group": "cluster_margin", "job_type": "cell",
    "tags": ["paper1", "smoke", "claim 1.1", "x" * 70],
    "config": {"data": {"name": "clusters", "k": 4}, "seeds": [7, 8]},
}  # fmt: skip
SCRIPT = """
    import sys, time
    from src.results import wandb_run
    wandb_run.PATIENCE = 1.0
    run = wandb_run.open_run({mode!r}, {folder!r}, **{about!r})
    run.log([{{"step": 1, "member": 0, "seed": 0, "margin": 1.0}}])
    {end}
"""

pytestmark = pytest.mark.usefixtures("wandb_server")


def rows(step):
    return [
        {"step": step, "member": m, "seed": 7 + m, "final": False, "converged": m == 1,
         "margin": step + m, "margin_oracle": math.nan, "curve_flip": [0.0, 1.0]}
        for m in range(2)
    ]  # fmt: skip


def open_run(mode, outputs, **changes):
    return wandb_run.open_run(mode, outputs, **ABOUT | changes)


def run_a_cell(mode, outputs, steps=(1, 2, 4), exit_code=0, **changes):
    run = open_run(mode, outputs, **changes)
    for step in steps:
        run.log(rows(step))
    run.summary({"verdict": "reproduced"})
    run.finish(exit_code)


def records(outputs, run_id="cell0"):
    """Return the records of a run's .wandb log by type, read as ``wandb leet inspect --json`` does."""
    from wandb.util import get_core_path

    (path,) = outputs.glob(f"wandb/*run-*-{run_id}/run-{run_id}.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", path, path.parents[1]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in lines.stdout.splitlines()]
    return {kind: [r[kind] for r in found if r["type"] == kind] for kind in {r["type"] for r in found}}


def has_rows(outputs):
    """Return whether the log has rows; it may not exist yet, or end in the middle of a record."""
    try:
        return "history" in records(outputs)
    except (ValueError, subprocess.CalledProcessError):
        return False


def steps_on_disk(outputs, run_id="cell0"):
    return [record["item"]["step"] for record in records(outputs, run_id)["history"]]


def steps_at(server):
    return {run: [row["step"] for row in logged] for run, logged in server.rows.items()}


def sync(outputs, *options):
    subprocess.run([WANDB, "sync", "--yes", *options], cwd=outputs, capture_output=True, check=True, timeout=HANGS)


def warnings(caplog):
    return [r.message for r in caplog.records if r.levelname == "WARNING" and r.name == "src.results.wandb_run"]


def eventually(condition, within=600.0):
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_a_disabled_run_leaves_no_trace(tmp_path):
    run_a_cell("disabled", tmp_path)
    assert not list(tmp_path.iterdir())


def test_history_entry_has_the_mean_and_range_of_the_members_and_each():
    assert wandb_run.history_entry(rows(4)) == {
        "step": 4, "converged": 0.5, "min/converged": 0.0, "max/converged": 1.0, "seed7/converged": 0.0,
        "seed8/converged": 1.0, "margin": 4.5, "min/margin": 4.0, "max/margin": 5.0, "seed7/margin": 4.0,
        "seed8/margin": 5.0}  # fmt: skip
    entry = wandb_run.history_entry([{"step": 1, "seed": 0, "log_risk": -8 * math.log(10)}])
    assert entry["decades"] == entry["seed0/decades"] == pytest.approx(8)
    entry = wandb_run.history_entry([{**row, "seed": 3} for row in rows(0)])
    assert (entry["seed3.0/margin"], entry["seed3.1/margin"], entry["margin"]) == (0.0, 1.0, 0.5)
    entry = wandb_run.history_entry([{**rows(2)[0], "margin": math.inf}, rows(2)[1]])
    assert entry["margin"] == entry["seed8/margin"] == 3.0 and "seed7/margin" not in entry


def test_an_offline_run_can_be_read_back_and_names_no_machine_and_no_folder(tmp_path, caplog, monkeypatch):
    other = {"SWEEP_ID": "q", "RUN_ID": "x", "PROJECT": "x", "NAME": "x", "RUN_GROUP": "x", "JOB_TYPE": "x"}
    other |= {"TAGS": "x", "NOTES": "x", "RESUME": "must", "LAUNCH": "true", "DIR": "/nowhere", "STRICT": "true"}
    for name, value in other.items():  # no variable is stronger than what the run is given
        monkeypatch.setenv(f"WANDB_{name}", value)
    run_a_cell("offline", tmp_path)
    back = records(tmp_path)
    (run,) = back["run"]
    assert ABOUT["config"].items() <= run["config"]["update"].items()
    about = [run[key] for key in ("run_id", "project", "display_name", "run_group", "job_type")]
    assert about == ["cell0", "suite", "k=4", "cluster_margin", "cell"]
    assert set(run["tags"]) == {"paper1", "smoke", "claim 1.1", "x" * 64}
    assert not run.get("notes") and not run.get("sweep_id") and "host" not in run
    assert [(row["item"]["step"], row["item"]["margin"], row["item"]["seed7/margin"]) for row in back["history"]] == [
        (1, 1.5, 1), (2, 2.5, 2), (4, 4.5, 4)]  # fmt: skip
    assert [metric["step_metric"] for metric in back["metric"]] == ["step"]
    assert {"verdict": "reproduced"} in [summary["update"] for summary in back["summary"]]
    (log,) = tmp_path.glob("wandb/offline-run-*/run-cell0.wandb")
    for private in (tmp_path, ROOT, Path.home(), Path(sys.prefix)):
        assert f"{private}/".encode() not in log.read_bytes()
    assert not warnings(caplog)


def test_successive_runs_do_not_merge_and_a_bad_call_spoils_nothing_else(tmp_path, caplog):
    run_a_cell("offline", tmp_path, steps=[1, 2])
    unfinished = open_run("offline", tmp_path, id="cell1", config={"seeds": [9]})
    run_a_cell("offline", tmp_path, steps=[8], id="cell2")
    unfinished.send(lambda wandb, run: run.log({"figure": wandb.Image(str(tmp_path / "missing.png"))}))
    unfinished.log([])
    unfinished.log(rows(4))
    unfinished.finish()
    assert [steps_on_disk(tmp_path, f"cell{i}") for i in range(3)] == [[1, 2], [4], [8]]
    assert len(warnings(caplog)) == 1, "of the first of two bad calls"


def test_config_and_rows_are_on_disk_though_the_process_is_killed(tmp_path):
    code = textwrap.dedent(SCRIPT).format(mode="offline", folder=str(tmp_path), about=ABOUT, end="time.sleep(300)")
    doomed = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        assert eventually(lambda: has_rows(tmp_path))
    finally:
        os.kill(doomed.pid, signal.SIGKILL)
        doomed.wait()
    assert records(tmp_path)["run"][0]["config"]["update"]["data"] == ABOUT["config"]["data"]
    assert steps_on_disk(tmp_path) == [1]


def test_an_online_run_arrives_whole(tmp_path, wandb_server, caplog):
    run_a_cell("online", tmp_path)
    assert not warnings(caplog)
    run = wandb_server.runs["cell0"]
    config = {key: value["value"] for key, value in json.loads(run["config"]).items()}
    assert config.items() >= ABOUT["config"].items()
    assert (run["project"], run["groupName"], run["jobType"]) == ("suite", "cluster_margin", "cell")
    assert run.get("host") is None and run["program"] == "src.run"
    assert [row["margin"] for row in wandb_server.rows["cell0"] if "margin" in row] == [1.5, 2.5, 4.5]
    assert json.loads(wandb_server.files["cell0/wandb-summary.json"])["verdict"] == "reproduced"


@pytest.mark.parametrize("fault", ["refuse", "hang", "closed port", "no key"])  # error: in test_wandb_mirror.py
def test_a_server_that_fails_costs_one_warning_and_runs_are_kept_offline(
    tmp_path, monkeypatch, caplog, fault, wandb_server
):
    monkeypatch.setattr(wandb_run, "PATIENCE", 5.0)
    wandb_server.fault = fault
    if fault == "closed port":
        wandb_server.shutdown()
        wandb_server.server_close()
    if fault == "no key":
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    began = time.monotonic()
    run_a_cell("online", tmp_path)
    asked = len(wandb_server.requests)
    run_a_cell("online", tmp_path, id="cell1")
    assert time.monotonic() - began < HANGS
    assert len(wandb_server.requests) == asked, "later cells ask a server that failed"
    assert len(warnings(caplog)) == 1
    assert steps_on_disk(tmp_path) == [1, 2, 4]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_server_that_fails_midway_costs_one_warning_and_gets_all_later(
    tmp_path, wandb_server, caplog, fault, monkeypatch
):
    run = open_run("online", tmp_path)
    run.log(rows(1))
    assert eventually(lambda: "cell0" in wandb_server.runs)
    monkeypatch.setattr(wandb_run, "PATIENCE", 5.0)
    wandb_server.fault = fault
    began = time.monotonic()
    run.log(rows(2))
    run.finish()
    run_a_cell("online", tmp_path, id="cell1")
    assert time.monotonic() - began < HANGS
    assert len(warnings(caplog)) == 1
    wandb_server.fault = None
    wandb_server.rows.clear()
    sync(tmp_path, "--include-online")
    assert steps_at(wandb_server) == {"cell0": [1, 2], "cell1": [1, 2, 4]}


def test_a_crash_of_wandb_core_costs_one_warning(tmp_path, wandb_server, caplog, monkeypatch):
    run = open_run("online", tmp_path)
    assert eventually(lambda: "cell0" in wandb_server.runs)
    monkeypatch.setattr(wandb_run, "PATIENCE", 5.0)
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True, check=True)
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    run.log(rows(1))
    run.finish()
    run_a_cell("online", tmp_path, id="cell1")
    assert len(warnings(caplog)) == 1
    assert steps_on_disk(tmp_path, "cell1") == [1, 2, 4]


def test_without_wandb_a_cell_runs_all_the_same(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run_a_cell("online", tmp_path)
    assert len(warnings(caplog)) == 1 and not list(tmp_path.iterdir())


def test_a_hung_server_does_not_hold_up_the_exit(tmp_path, wandb_server):
    wandb_server.fault = "hang"
    code = textwrap.dedent(SCRIPT).format(mode="online", folder=str(tmp_path), about=ABOUT, end="run.finish()")
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert ended.returncode == 0 and ended.stderr.count("W&B") == 1 and not ended.stdout


def test_every_offline_run_is_uploaded_once_and_whole_also_a_resumed_one(tmp_path, wandb_server):
    run_a_cell("offline", tmp_path, steps=[1], exit_code=1)
    run_a_cell("offline", tmp_path, id="cell1")
    time.sleep(1)  # W&B names folders by the second
    run_a_cell("offline", tmp_path)
    for _ in range(2):
        sync(tmp_path)
        assert steps_at(wandb_server) == {"cell0": [1, 2, 4], "cell1": [1, 2, 4]}
