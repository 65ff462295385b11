"""All launchers give the same bytes, continue after a failed cell, and resume after kills."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from src import run as entry
from src.config import sweep
from src.config.messages import explain
from src.results import store
from src.runner import launch

ROOT = Path(__file__).resolve().parents[2]
TINY = ["+experiment=cluster_width", "profile=smoke", "data.k=4", "data.n=12", "data.d=64"]
TINY += ["data.n_test=50", "stop.slackness=null", "stop.flatness=null", "seeds=[0,1]", "tracking.mode=disabled"]
TINY += ["measurements.robustness.points=5", "measurements.robust_network.points=5", "report=false"]
THREE, ONE = "model.width=6,7,8", "model.width=6"
SHORT, LONG = ["steps=60"], ["steps=200", "checkpoint_every=0"]
"""LONG runs long enough to be killed, and saves every step."""

INTERRUPTED = "Interrupted. Run the same command again to resume."


def command(outputs, *overrides):
    return [sys.executable, "-m", "src.run", *TINY, f"outputs={outputs}", *overrides]


def start(outputs, *overrides):
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(outputs, *overrides), cwd=ROOT, start_new_session=True, **silent)


def bytes_of(outputs):
    return {path.parent.name: path.read_bytes() for path in outputs.glob("cluster_width/*/metrics.jsonl")}


def wait_for(condition, seconds=600):
    """Return the first true result of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert result, "waited in vain"
    return result


def training(outputs):
    """Return the cells with a recorded step."""
    return list(outputs.glob("cluster_width/*/checkpoint.pt"))


def processes(word, parent=None):
    """Return ids of processes with ``word`` in their command line, children of ``parent`` if given."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, facts = (folder / "cmdline").read_text(), (folder / "stat").read_text()
        except OSError:
            continue
        if word in line and (parent is None or int(facts.rpartition(")")[2].split()[1]) == parent):
            found.append(int(folder.name))
    return found


def in_process(outputs, *overrides):
    """Run the command in this process, which has imported torch already; return the exit code."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["run"])
        return entry.run([*TINY, f"outputs={outputs}", *overrides])


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    assert in_process(folder, THREE, *SHORT, "launcher=basic") == 0
    return folder


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    assert in_process(folder, THREE, LONG[0], "launcher=basic") == 0
    return bytes_of(folder)


def test_joblib_is_the_default_and_small_sweeps_do_without(tmp_path):
    smoke = sweep.jobs([*TINY, THREE, *SHORT, f"outputs={tmp_path}"])
    jobs = [(overrides, config.model_copy(update={"profile": "default"})) for overrides, config in smoke]
    assert launch._fallback(jobs, TINY) == []
    assert launch._fallback(smoke, TINY) == ["launcher=basic"]
    assert launch._fallback(jobs[:1], TINY) == ["launcher=basic"]
    assert launch._fallback(jobs[:1], [*TINY, "launcher=ray"]) == []
    on_gpu = [(overrides, config.model_copy(update={"device": "cuda"})) for overrides, config in jobs]
    assert launch._fallback(on_gpu, TINY) == ["launcher=basic"], "processes would fight over it"


def test_the_longest_cell_starts_first(short):
    ended = sorted(short.glob("cluster_width/*/status.json"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.parent.name.split("-")[0] for path in ended] == ["m=8", "m=7", "m=6"]


def test_failing_cells_stop_no_other_and_workers_write_the_bytes_of_one_process(tmp_path, capfd, short):
    widths = "model.width=6,1000000000000,2000000000000,7"
    assert in_process(tmp_path, widths, *SHORT, "launcher=joblib", "hydra.launcher.n_jobs=2") == 1
    said = capfd.readouterr().err
    assert "2 of 4 cells done" in said
    assert len(re.findall(r"^FAILED .*m=[12]000000000000-.*RuntimeError", said, re.MULTILINE)) == 2
    assert "Traceback" not in said
    written = bytes_of(tmp_path)
    assert len(written) == 2 and written.items() <= bytes_of(short).items()


def test_the_command_of_a_cell_names_no_launcher():
    assert launch.command(["data.k=4", "launcher=ray", "hydra.launcher.n_jobs=2"]) == "python -m src.run data.k=4"


def test_the_command_of_a_cell_leaves_out_what_its_profile_sets():
    words = ["seeds=[0]", "data.d=512", "profile=smoke", "model.width=4"]
    shown = launch.command(words, ["seeds=[0]", "data.d=1024"])
    assert shown == "python -m src.run data.d=512 profile=smoke model.width=4"


@pytest.mark.parametrize("option, how", [("ray", "[ray]"), ("submitit_slurm", "[slurm]"), ("joblib", "make setup")])
def test_a_launcher_that_is_not_installed_is_one_line(option, how):
    error = MissingConfigException(f"In 'launcher/x': Could not find 'hydra/launcher/{option}'\n\nAvailable options:")
    said = explain(error, ["launcher=x"])
    assert how in said
    assert "\n" not in said


def test_a_sweep_killed_three_times_is_completed_by_the_same_command(tmp_path, long):
    words = [THREE, *LONG, "launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = start(tmp_path, *words)
    cell = wait_for(lambda: training(tmp_path))[0].parent
    os.kill(processes("popen_loky", process.pid)[0], signal.SIGKILL)  # out of memory, say
    _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "Launcher joblib failed" in said
    assert "Traceback" not in said
    process = start(tmp_path, *words)
    wait_for(lambda: processes("popen_loky", process.pid))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert said.splitlines()[1:] == [INTERRUPTED]
    process = start(tmp_path, *words)
    workers = wait_for(lambda: processes("popen_loky", process.pid))
    wait_for(lambda: "resumed" in (cell / "run.log").read_text() or store.finished(cell))
    process.kill()
    process.wait()
    wait_for(lambda: not set(workers) & set(processes("popen_loky")))  # they follow
    assert in_process(tmp_path, THREE, *LONG) == 0
    assert "resumed at step" in (cell / "run.log").read_text()
    assert bytes_of(tmp_path) == long


@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])  # joblib: above
def test_ctrl_c_is_one_line(launcher, tmp_path):
    process = start(tmp_path, *LONG, ONE, f"launcher={launcher}")
    wait_for(lambda: training(tmp_path))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert said.splitlines()[1:] == [INTERRUPTED]


def test_a_job_out_of_time_is_queued_again_and_resumes(tmp_path, long):
    """A job of submitit receives Slurm's signal before the time limit."""
    process = start(tmp_path, ONE, *LONG, "launcher=submitit_local")
    cell = wait_for(lambda: training(tmp_path))[0].parent
    (job,) = (tmp_path / ".hydra/submitit").glob("[0-9]*")
    (task,) = processes("submitit", parent=int(job.name))
    os.kill(task, signal.SIGUSR2)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert "resumed at step" in (cell / "run.log").read_text()
    assert bytes_of(tmp_path) == {cell.name: long[cell.name]}


def test_two_nodes_of_a_ray_cluster(tmp_path, long, monkeypatch):
    """After the kill of a worker and then of a node, the same command completes the sweep."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        words = [THREE, *LONG, "launcher=ray"]
        process = start(tmp_path, *words, "hydra.launcher.ray.remote.max_retries=0")
        wait_for(lambda: len(training(tmp_path)) == 2)
        os.kill(processes("ray::_run_job")[0], signal.SIGKILL)
        _, said = process.communicate(timeout=600)
        assert process.returncode == 1
        assert "Launcher ray failed" in said
        process = start(tmp_path, *words)
        time.sleep(8)
        cluster.remove_node(second, allow_graceful=False)
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said
    finally:
        cluster.shutdown()
    assert bytes_of(tmp_path) == long
