"""The mirror tells W&B everything when W&B works, and costs a bounded moment and one warning when it does not."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import wandb

from src.results import wandb_run
from tests import fake_wandb

ROOT = Path(__file__).parents[2]
PATIENCE = 2.0
WANDB = shutil.which("wandb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
ABOUT = {
    "run_id": "cell0", "project": "suite", "name": "k=4", "group": "cluster_margin", "job_type": "cell",
    "tags": ["paper1", "smoke", "claim 1.1", "x" * 70],
}  # fmt: skip
CONFIG = {"data": {"name": "clusters", "k": 4}, "seeds": [7, 8]}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test meets W&B for the first time."""
    monkeypatch.setattr(wandb_run, "_lost", set())
    monkeypatch.setattr(wandb_run, "_trouble", [])
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def server(monkeypatch):
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server


def rows(step):
    return [
        {"step": step, "member": m, "seed": 7 + m, "final": False, "converged": m == 1,
         "margin": step + m, "margin_oracle": math.nan, "curve_flip": [0.0, 1.0]}
        for m in range(2)
    ]  # fmt: skip


def open_run(mode, outputs, **changes):
    return wandb_run.open_run(mode, outputs, **{**ABOUT, "config": CONFIG, "patience": PATIENCE, **changes})


def run_a_cell(mode, outputs, steps=(1, 2, 4), **changes):
    mirror = open_run(mode, outputs, **changes)
    for step in steps:
        mirror.log(rows(step))
    mirror.summary({"verdict": "reproduced"})
    mirror.finish()


def records(outputs, run_id="cell0"):
    """What one run's folder holds: its .wandb log read by W&B's own reader."""
    if not WANDB:
        pytest.skip("no wandb command")
    (path,) = outputs.glob(f"wandb/*run-*-{run_id}/run-{run_id}.wandb")
    lines = subprocess.run([WANDB, "leet", "inspect", "--json", path], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in lines.stdout.splitlines()]


def history(of_records):
    return [r["history"]["item"] for r in of_records if r["type"] == "history"]


def picture(path):
    matplotlib.image.imsave(path, np.zeros((2, 2)))
    return path


def warned(caplog):
    return [
        record for record in caplog.records if record.levelname == "WARNING" and record.name == "src.results.wandb_run"
    ]


def test_importing_the_mirror_is_cheap():
    code = "import sys, src.results.wandb_run; print([m for m in ('wandb', 'torch', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_disabled_mirror_leaves_no_trace(tmp_path):
    run_a_cell("disabled", tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_variable_outranks_what_the_mirror_says(tmp_path, monkeypatch):
    other = {"SWEEP_ID": "q", "RUN_ID": "x", "PROJECT": "x", "NAME": "x", "RUN_GROUP": "x", "JOB_TYPE": "x"}
    other |= {"TAGS": "x", "NOTES": "x", "RESUME": "must", "LAUNCH": "true", "DIR": "/nowhere", "STRICT": "true"}
    for name, value in other.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run_a_cell("offline", tmp_path, patience=30.0)
    (run,) = (r["run"] for r in records(tmp_path) if r["type"] == "run")
    assert (run["run_id"], run["project"], run["display_name"], run["run_group"], run["job_type"]) == (
        "cell0", "suite", "k=4", "cluster_margin", "cell")  # fmt: skip
    assert "x" not in run["tags"] and not run.get("notes") and not run.get("sweep_id")


def test_history_entry_gives_mean_and_range_of_the_members_and_each():
    entry = wandb_run.history_entry(rows(4))
    assert entry == {
        "step": 4, "converged": 0.5, "min/converged": 0.0, "max/converged": 1.0, "seed7/converged": 0.0,
        "seed8/converged": 1.0, "margin": 4.5, "min/margin": 4.0, "max/margin": 5.0, "seed7/margin": 4.0,
        "seed8/margin": 5.0}  # fmt: skip


def test_history_entry_tells_the_loss_in_decades():
    entry = wandb_run.history_entry([{"step": 1, "seed": 0, "log_risk": -8 * math.log(10)}])
    assert entry["decades"] == entry["seed0/decades"] == pytest.approx(8)


def test_members_that_share_a_seed_stay_apart():
    entry = wandb_run.history_entry([{**row, "seed": 3} for row in rows(0)])
    assert (entry["seed3.0/margin"], entry["seed3.1/margin"], entry["margin"]) == (0.0, 1.0, 0.5)


def test_a_diverged_member_does_not_hide_the_others():
    first, second = rows(2)
    entry = wandb_run.history_entry([{**first, "margin": math.inf}, second])
    assert entry["margin"] == entry["seed8/margin"] == 3.0 and "seed7/margin" not in entry


def test_offline_run_can_be_read_back(tmp_path, caplog):
    run_a_cell("offline", tmp_path)
    back = records(tmp_path)
    (run,) = [record["run"] for record in back if record["type"] == "run"]
    assert CONFIG.items() <= run["config"]["update"].items()
    assert (run["run_id"], run["run_group"], run["job_type"]) == ("cell0", "cluster_margin", "cell")
    assert set(run["tags"]) == {"paper1", "smoke", "claim 1.1", "x" * 64}
    assert [(row["step"], row["margin"], row["seed7/margin"]) for row in history(back)] == [
        (1, 1.5, 1), (2, 2.5, 2), (4, 4.5, 4)]  # fmt: skip
    assert [record["metric"]["step_metric"] for record in back if record["type"] == "metric"] == ["step"]
    assert {"verdict": "reproduced"} in [r["summary"]["update"] for r in back if r["type"] == "summary"]
    assert not warned(caplog)


def test_what_waits_for_an_upload_waits_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    page = tmp_path / "report.html"
    page.write_text("verdicts")
    mirror = open_run("offline", tmp_path / "outputs")
    mirror.table("members", rows(1))
    mirror.artifact("paper1", "report", [page], {"paper": 1})
    mirror.finish()
    assert not (tmp_path / "home").exists()
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        sync(tmp_path / "outputs")
        assert server.artifacts == {"paper1": "report", "run-cell0-members": "run_table"}
        assert server.files["paper1/report.html"] == b"verdicts"
        assert json.loads(server.files["run-cell0-members/members.table.json"])["columns"][0] == "step"


def test_offline_run_names_no_machine_and_no_folder(tmp_path):
    mirror = open_run("offline", tmp_path)
    mirror.image("margin", picture(tmp_path / "a.png"))
    mirror.finish()
    (log,) = tmp_path.glob("wandb/offline-run-*/run-cell0.wandb")
    for private in (tmp_path, ROOT, Path.home(), Path(sys.prefix)):
        assert f"{private}/".encode() not in log.read_bytes()
    assert not [record for record in records(tmp_path) if "host" in record.get("run", ())]


def test_successive_runs_do_not_merge(tmp_path):
    run_a_cell("offline", tmp_path, steps=[1, 2])
    unfinished = open_run("offline", tmp_path, run_id="cell1", config={"seeds": [9]})
    run_a_cell("offline", tmp_path, steps=[8], run_id="cell2")
    unfinished.log(rows(4))
    unfinished.finish()
    steps = {run: [row["step"] for row in history(records(tmp_path, run))] for run in ("cell0", "cell1", "cell2")}
    assert steps == {"cell0": [1, 2], "cell1": [4], "cell2": [8]}


def test_config_is_on_disk_though_the_process_is_killed(tmp_path):
    code = f"""
        import time
        from src.results import wandb_run
        mirror = wandb_run.open_run("offline", {str(tmp_path)!r}, config={CONFIG!r}, **{ABOUT!r})
        mirror.log([{{"step": 1, "member": 0, "seed": 0, "margin": 1.0}}])
        time.sleep(60)
    """
    doomed = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    try:
        assert eventually(lambda: any(path.stat().st_size > 100 for path in tmp_path.glob("wandb/*/*.wandb")))
    finally:
        os.kill(doomed.pid, signal.SIGKILL)
        doomed.wait()
    back = records(tmp_path)
    assert back[1]["run"]["config"]["update"]["data"] == CONFIG["data"] and len(history(back)) == 1


def test_online_run_arrives_whole(tmp_path, server, caplog):
    mirror = open_run("online", tmp_path)
    mirror.log(rows(1))
    mirror.log(rows(2))
    mirror.summary({"verdict": "reproduced"})
    mirror.image("figure", picture(tmp_path / "figure.png"))
    mirror.table("members", pd.DataFrame(rows(2)))
    mirror.artifact("paper1", "report", [tmp_path / "figure.png"], {"paper": 1})
    mirror.finish()
    assert not warned(caplog)
    run = server.runs["cell0"]
    assert {key: value["value"] for key, value in json.loads(run["config"]).items()}.items() >= CONFIG.items()
    assert (run["project"], run["groupName"], run["jobType"]) == ("suite", "cluster_margin", "cell")
    assert run.get("host") is None and run["program"] == "src.run"
    assert [row["margin"] for row in server.rows["cell0"] if "margin" in row] == [1.5, 2.5]
    assert json.loads(server.files["cell0/wandb-summary.json"])["verdict"] == "reproduced"
    (image,) = [body for name, body in server.files.items() if name.startswith("cell0/media/images/figure")]
    assert image == (tmp_path / "figure.png").read_bytes()
    assert server.artifacts == {"run-cell0-members": "run_table", "paper1": "report"}
    assert server.files["paper1/figure.png"] == image
    assert [row[5] for row in json.loads(server.files["run-cell0-members/members.table.json"])["data"]] == [2.0, 3.0]


@pytest.mark.parametrize("fault", ["refuse", "error", "hang", "closed port", "no key"])
def test_a_server_that_fails_costs_one_warning_and_the_runs_are_kept_offline(tmp_path, monkeypatch, caplog, fault):
    with fake_wandb.serve(fault) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        if fault == "closed port":
            server.shutdown()
            server.server_close()
        if fault == "no key":
            monkeypatch.delenv("WANDB_API_KEY")
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        began = time.monotonic()
        run_a_cell("online", tmp_path)
        first, asked = time.monotonic() - began, len(server.requests)
        run_a_cell("online", tmp_path, run_id="cell1")
        second = time.monotonic() - began - first
    assert first < PATIENCE + 3 and second < PATIENCE
    assert len(server.requests) == asked, "later cells ask a server that failed"
    assert len(warned(caplog)) == 1
    assert [row["step"] for row in history(records(tmp_path, "cell0"))] == [1, 2, 4]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_server_that_fails_midway_costs_one_warning_and_gets_all_later(tmp_path, server, caplog, fault):
    mirror = open_run("online", tmp_path)
    mirror.log(rows(1))
    assert eventually(lambda: "cell0" in server.runs)
    server.fault = fault
    began = time.monotonic()
    mirror.log(rows(2))
    mirror.finish()
    run_a_cell("online", tmp_path, run_id="cell1")
    assert time.monotonic() - began < 2 * PATIENCE + 3
    assert len(warned(caplog)) == 1
    server.fault = None
    server.rows.clear()
    sync(tmp_path, "--include-online")
    assert steps_at(server) == {"cell0": [1, 2], "cell1": [1, 2, 4]}


def test_a_crash_of_wandb_core_costs_one_warning(tmp_path, server, caplog):
    mirror = open_run("online", tmp_path)
    assert eventually(lambda: "cell0" in server.runs)
    for pid in children("wandb-core"):
        os.kill(pid, signal.SIGKILL)
    mirror.log(rows(1))
    mirror.finish()
    run_a_cell("online", tmp_path, run_id="cell1")
    assert len(warned(caplog)) == 1
    assert [row["step"] for row in history(records(tmp_path, "cell1"))] == [1, 2, 4]


def test_without_wandb_the_cell_runs_unmirrored(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run_a_cell("online", tmp_path)
    assert len(warned(caplog)) == 1 and not list(tmp_path.iterdir())


def test_a_bad_call_spoils_nothing_else(tmp_path, caplog):
    mirror = open_run("offline", tmp_path)
    mirror.image("figure", tmp_path / "missing.png")
    mirror.log([])
    mirror.log(rows(1))
    mirror.finish()
    assert len(warned(caplog)) == 1
    assert [row["step"] for row in history(records(tmp_path))] == [1]


def test_a_hung_server_does_not_hold_up_the_exit(tmp_path):
    code = f"""
        from src.results import wandb_run
        mirror = wandb_run.open_run("online", {str(tmp_path)!r}, patience=1.0, **{ABOUT!r})
        mirror.log([{{"step": 1, "member": 0, "seed": 0, "margin": 1.0}}])
        mirror.finish()
    """
    with fake_wandb.serve("hang") as server:
        environment = {**os.environ, "WANDB_BASE_URL": server.url}
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=environment,
                               capture_output=True, text=True, timeout=8)  # fmt: skip
    assert ended.returncode == 0 and ended.stderr.count("W&B") == 1 and not ended.stdout


def test_every_offline_run_is_uploaded_once(tmp_path, server):
    run_a_cell("offline", tmp_path)
    run_a_cell("offline", tmp_path, run_id="cell1")
    sync(tmp_path)
    assert steps_at(server) == {"cell0": [1, 2, 4], "cell1": [1, 2, 4]}
    asked = len(server.requests)
    sync(tmp_path)
    assert len(server.requests) <= asked + 2 and steps_at(server) == {"cell0": [1, 2, 4], "cell1": [1, 2, 4]}


def test_resumed_cell_is_uploaded_once_and_whole(tmp_path, server):
    mirror = open_run("offline", tmp_path)
    mirror.log(rows(1))
    mirror.finish(exit_code=1)
    time.sleep(1)  # W&B names folders by the second
    run_a_cell("offline", tmp_path, steps=[1, 2, 4])
    sync(tmp_path)
    assert steps_at(server) == {"cell0": [1, 2, 4]}


def steps_at(server):
    return {run: [row["step"] for row in got] for run, got in server.rows.items()}


def sync(outputs, *options):
    if not WANDB:
        pytest.skip("no wandb command")
    subprocess.run([WANDB, "sync", "--yes", *options], cwd=outputs, capture_output=True, check=True, timeout=20)


def children(name):
    """Processes called ``name`` started by this one."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, command, _, parent = stat.read_text().split()[:4]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and name.startswith(command.strip("()")):
            yield int(pid)


def eventually(condition, within=8.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
