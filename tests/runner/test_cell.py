"""Finished cells are skipped, killed cells resume bit for bit, failed cells run again."""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from src.config import schema, sweep
from src.errors import CellError, ConfigError
from src.results import store
from src.runner import cell as cells
from src.training import checkpoint

TINY = ["+experiment=cluster_width", "profile=smoke", "model.width=6", "data.k=4", "data.n=12", "data.d=64"]
TINY += ["data.n_test=50", "steps=300", "stop.check_every=40", "seeds=[0,1]", "tracking.mode=disabled"]
TINY += ["measurements.robustness.points=5", "measurements.robust_network.points=5"]


@cache
def composed(*overrides):
    (config,) = sweep.expand([*TINY, *overrides])
    return config


def tiny(outputs, *overrides):
    return composed(*overrides).model_copy(update={"outputs": str(outputs)})


def run(config):
    said = []
    return cells.run(config, "command", log=said.append), said


def bytes_of(cell):
    return {name: (cell / name).read_bytes() for name in ("metrics.jsonl", "summary.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the cell of an uninterrupted run, for comparison."""
    cell, _ = run(tiny(tmp_path_factory.mktemp("whole")))
    return cell


def test_files_of_a_cell(whole):
    names = "config.yaml provenance.json metrics.jsonl summary.json checkpoint.pt run.log status.json".split()
    assert set(names) <= {path.name for path in whole.iterdir()}
    rows = store.rows(whole)
    assert {row["seed"] for row in rows} == {0, 1}
    assert [row["final"] for row in rows[-2:]] == [True, True]
    assert store.status(whole)["state"] == "done"
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert schema.identity({**config}) == whole.name.rsplit("-", 1)[-1]


def test_measured_at_shares_of_the_budget(tmp_path):
    cell, _ = run(tiny(tmp_path, "log_points=[0,0.2105,0.5]", "stop.slackness=null", "stop.flatness=null", "steps=200"))
    assert sorted({row["step"] for row in store.rows(cell)}) == [0, 42, 100, 200]
    status = store.status(cell)
    assert 0 <= status["on_the_way"] <= status["seconds"]


def test_the_stop_rule_is_not_asked_over_a_shorter_stretch(tmp_path):
    """The budget ends fewer than ``stop.check_every`` steps after the last check."""
    flat = ["stop.slackness=null", "stop.flatness=0.05", "stop.check_every=100", "seeds=[0]"]
    rows = {steps: store.rows(run(tiny(tmp_path, *flat, f"steps={steps}"))[0])[-1] for steps in (300, 301)}
    assert [row["converged"] for row in rows.values()] == [False, False]


def test_finished_cell_is_skipped(whole):
    before = bytes_of(whole), (whole / "status.json").stat().st_mtime_ns
    _, said = run(tiny(whole.parents[1]))
    assert "skipped" in said[0]
    assert before == (bytes_of(whole), (whole / "status.json").stat().st_mtime_ns)


def copied(whole, outputs):
    """Return the same cell in other outputs."""
    shutil.copytree(whole.parent, outputs / whole.parent.name, dirs_exist_ok=True)
    return outputs / whole.parent.name / whole.name


class Killed(BaseException):
    """No Exception, so that the cell records no failure, as after a kill."""


def mortal(train, budget):
    """Return a ``train`` that is killed after ``budget`` steps."""

    def killed(*args):
        for count, progress in enumerate(train(*args)):
            if count == budget:
                raise Killed
            yield progress

    return killed


@pytest.mark.parametrize("seed", range(2))
def test_resume_after_kills_at_random_steps_is_bit_for_bit(tmp_path, monkeypatch, whole, seed):
    rng = random.Random(seed)
    config = tiny(tmp_path, f"checkpoint_every={rng.choice([0, 0.01])}")
    original = cells.loop.train

    for _ in range(3):
        monkeypatch.setattr(cells.loop, "train", mortal(original, rng.randrange(1, 120)))
        try:
            run(config)
            break
        except Killed:
            assert store.status(config.folder)["state"] == "running"
    monkeypatch.setattr(cells.loop, "train", original)
    cell, _ = run(config)
    assert bytes_of(cell) == bytes_of(whole)
    if config.checkpoint_every == 0:
        assert "resumed at step" in (cell / "run.log").read_text()


@pytest.mark.parametrize("killed", [True, False])
def test_a_cell_that_another_process_trains_is_resumed_or_waited_for(killed, tmp_path, whole):
    command = [sys.executable, "-m", "src.run", *TINY, f"outputs={tmp_path}", "checkpoint_every=0", "report=false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    config = tiny(tmp_path)
    deadline = time.monotonic() + 300
    while not (config.folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, said = run(config)
    assert killed or (process.wait() == 0 and any("skipped" in line for line in said))
    assert bytes_of(config.folder) == bytes_of(whole)


def test_what_a_killed_write_left_is_removed_when_the_cell_is_next_opened(tmp_path, monkeypatch):
    config = tiny(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(type(tmp_path), "replace", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(config)
    cell = config.folder
    assert list(cell.glob(".*.*.[0-9]*"))
    run(config)
    assert not [path.name for path in cell.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_failed_cell_says_why_and_is_retried(tmp_path, monkeypatch, whole):
    config = tiny(tmp_path)

    def broken(*args):
        raise ZeroDivisionError("no luck today")

    with monkeypatch.context() as patched:
        patched.setattr(cells.loop, "train", broken)
        with pytest.raises(CellError, match="no luck today"):
            run(config)
    cell = config.folder
    assert store.status(cell)["state"] == "failed"
    assert "no luck today" in store.status(cell)["reason"]
    assert "Traceback" in (cell / "run.log").read_text()
    run(config)
    assert bytes_of(cell) == bytes_of(whole)
    with monkeypatch.context() as patched:
        patched.setattr(cells.build, "assemble", broken)
        with pytest.raises(CellError, match="no luck today"):
            run(config.model_copy(update={"force": True}))
    assert store.finished(cell) and bytes_of(cell) == bytes_of(whole)


def test_force_runs_anew_and_keeps_the_old_files(tmp_path, whole):
    cell = copied(whole, tmp_path)
    run(tiny(tmp_path, "force=true"))
    (kept,) = (cell.parent / ".superseded").iterdir()
    assert bytes_of(kept) == bytes_of(cell) == bytes_of(whole)


def test_force_does_not_compare_clocks(tmp_path, whole):
    cell = copied(whole, tmp_path)
    status = store.status(cell)
    store.write_json(cell / "status.json", status | {"ended": "2999-01-01T00:00:00.000+00:00"})
    run(tiny(tmp_path, "force=true"))
    assert store.status(cell)["ended"] < "2999"
    assert len(list((cell.parent / ".superseded").iterdir())) == 1


def test_force_takes_what_another_process_finished_meanwhile(tmp_path, monkeypatch, whole):
    """Another process, whose clock is slow, finishes the cell between the status check and the lock."""
    cell = copied(whole, tmp_path)
    status = store.status(cell)

    @contextlib.contextmanager
    def held_after_another(cell, log):
        store.write_json(cell / "status.json", status | {"ended": "1999-01-01T00:00:00.000+00:00"})
        yield

    monkeypatch.setattr(store, "cell_lock", held_after_another)
    run(tiny(tmp_path, "force=true"))
    assert not (cell.parent / ".superseded").exists()


def test_a_kill_while_files_are_archive_leaves_an_unstarted_cell(tmp_path, monkeypatch, whole):
    cell = copied(whole, tmp_path)
    rename, moved = type(cell).rename, []

    def third_time_killed(path, target):
        moved.append(path)
        if len(moved) == 3:
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(cell), "rename", third_time_killed)
        with pytest.raises(Killed):
            store.archive(cell)
    assert store.status(cell)["state"] == "missing"
    run(tiny(tmp_path))
    assert bytes_of(cell) == bytes_of(whole)


def test_a_killed_force_goes_on_where_it_stopped(tmp_path, monkeypatch, whole):
    cell = copied(whole, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(cells.loop, "train", mortal(cells.loop.train, 90))
        with pytest.raises(Killed):
            run(tiny(tmp_path, "force=true", "checkpoint_every=0"))
    run(tiny(tmp_path, "force=true"))
    assert "resumed at step 89" in (cell / "run.log").read_text()
    assert bytes_of(cell) == bytes_of(whole)
    assert len(list((cell.parent / ".superseded").iterdir())) == 1


@pytest.mark.parametrize("name", ["status.json", "checkpoint.pt", "metrics.jsonl"])
def test_damaged_files_are_told_in_one_line_and_left_alone(tmp_path, name, monkeypatch):
    config = tiny(tmp_path, "checkpoint_every=0")
    with monkeypatch.context() as patched:
        patched.setattr(cells.loop, "train", mortal(cells.loop.train, 50))
        with pytest.raises(Killed):
            run(config)
    cell = config.folder
    damaged = (cell / name).read_bytes()[:20]
    (cell / name).write_bytes(damaged)
    with pytest.raises(ConfigError, match="is damaged") as refused:
        run(config)
    assert "\n" not in str(refused.value)
    assert (cell / name).read_bytes() == damaged


def fill(monkeypatch, room):
    """Simulate a disk with ``room`` free bytes: the first write beyond them is partial and fails, as all later ones."""
    left, opened = [room], Path.open

    def limited(path, mode="r", *args, **settings):
        file = opened(path, mode, *args, **settings)
        if mode[0] in "wa" and path.name != ".lock":
            write = file.write
            file.write = lambda content: spend(write, content)
        return file

    def spend(write, content):
        part, left[0] = content[: left[0]], left[0] - len(content)
        write(part)
        if left[0] < 0:
            left[0] = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", limited)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, monkeypatch, whole):
    config = tiny(tmp_path, "checkpoint_every=0")
    for room in (0, 100, 1_000, 5_000, 60_000, 200_000):
        with monkeypatch.context() as patched:
            fill(patched, room)
            with pytest.raises(ConfigError) as refused:
                run(config)
        assert str(refused.value) == f"outputs={tmp_path}: cannot be written or read: no space left on device"
    cell, _ = run(config)
    assert "resumed at step" in (cell / "run.log").read_text()
    assert bytes_of(cell) == bytes_of(whole)
    assert not list(cell.glob(".*.*.*")), "half a file takes room"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG, errno.ESTALE])
@pytest.mark.parametrize("name", ["status.json", "metrics.jsonl", "config.yaml", "checkpoint.pt"])
def test_what_cannot_be_read_is_not_damaged_and_force_is_no_cure(name, code, whole, monkeypatch):
    def refuse(path, *args, **settings):
        raise OSError(code, os.strerror(code), str(path))

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **settings: (
        refuse if path.name == name else opened)(path, *args, **settings))  # fmt: skip
    monkeypatch.setattr(torch, "load", refuse)
    read = {"status.json": store.finished, "metrics.jsonl": store.rows, "config.yaml": store.config_of}
    read["checkpoint.pt"] = lambda cell: checkpoint.load(cell / "checkpoint.pt", torch.device("cpu"))
    with pytest.raises(ConfigError, match=f"{name}: cannot be read: {os.strerror(code).lower()}") as refused:
        read[name](whole)
    assert "force" not in str(refused.value)


def test_batched_members_equal_single_members(whole, tmp_path):
    alone, _ = run(tiny(tmp_path, "seeds=[1]"))
    (one,) = [row for row in store.rows(alone) if row["final"]]
    (both,) = [row for row in store.rows(whole) if row["final"] and row["seed"] == 1]
    assert one["step"] <= both["step"]
    for name in ("margin", "z_r50", "log_risk", "test_error"):
        assert one[name] == pytest.approx(both[name], rel=1e-6), name


def test_a_seed_changes_the_result(whole):
    first, second = (row for row in store.rows(whole) if row["final"])
    assert first["margin"] != second["margin"]


def test_unwritable_outputs_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError, match="outputs="):
        run(tiny(blocked))


def test_rows_hold_no_clock_and_no_path(whole):
    text = (whole / "metrics.jsonl").read_text() + (whole / "summary.json").read_text()
    assert str(whole.parents[2]) not in text
    assert "seconds" not in json.loads((whole / "summary.json").read_text())
    assert os.sep + "outputs" not in text
