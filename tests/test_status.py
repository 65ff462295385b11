"""The status of a sweep, from files of cells in every state."""

import errno
import fcntl
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src import status
from src.results import store

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def leave(cell, **status):
    cell.mkdir(parents=True, exist_ok=True)
    store.write_json(cell / "status.json", status)
    return cell


@pytest.fixture
def sweep(tmp_path):
    """Return a sweep with a cell in every state: done in 50 s, half done after 100 s, failed, killed, not started."""
    folder = tmp_path / "width"
    store.write_plan({folder / name: 10.0 for name in ("a", "b", "c", "d", "e")})
    leave(folder / "a", state="done", seconds=50.0)
    running = leave(folder / "b", state="running", since=ago(100), beat=ago(0), begun_at=0, step=500, steps=1000)
    leave(folder / "c", state="failed", reason="MemoryError: too large")
    leave(folder / "d", state="running", since=ago(500), beat=ago(400), begun_at=0, steps=1000)
    with (running / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield tmp_path


def text_of(cells):
    return "\n".join(line.plain for line in status.cell_lines(cells, NOW))


def test_every_state_is_shown(sweep):
    states = {cell.folder.name: cell.state for cell in status.scan(sweep)}
    assert states == {"a": "done", "b": "running", "c": "failed", "d": "stale", "e": "waiting"}
    text = text_of(status.scan(sweep))
    assert "FAILED   width/c: MemoryError: too large" in text
    assert "STALE    width/d" in text
    assert "running  width/b: step 500 of 1000, at most 100 min left" not in text
    assert "running  width/b: step 500 of 1000, at most 2 min left" in text
    assert text.splitlines()[-1].startswith("1 of 5 cells done, 1 running, 1 failed, 1 stale, 1 waiting; about")


def test_time_left_is_what_runs_and_what_waits(sweep):
    cells = status.scan(sweep)
    assert status.seconds_left(cells, NOW) == pytest.approx(100 + (50 + 200) / 2)
    (running,) = [cell for cell in cells if cell.state == "running"]
    assert status.seconds_left([running], NOW) == pytest.approx(100)
    assert status.seconds_left([cell for cell in cells if cell.state != "running"], NOW) is None


def test_a_resumed_cell_is_timed_from_where_it_went_on(sweep):
    running = {"since": ago(10), "beat": ago(0), "begun_at": 900, "step": 950, "steps": 1000}
    cell = status.Cell(sweep / "width" / "b", "running", running, None)
    assert status.cell_seconds_left(cell, {}, NOW) == pytest.approx(10)


def test_a_look_changes_nothing_and_takes_no_lock_from_others(sweep):
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    status.scan(sweep)
    assert {path: path.stat().st_mtime_ns for path in sweep.rglob("*")} == before
    with store.cell_lock(sweep / "width" / "d", log=pytest.fail):
        assert [cell.state for cell in status.scan(sweep)].count("running") == 2


def test_a_damaged_status_is_a_failure_that_is_told(sweep):
    (sweep / "width" / "a" / "status.json").write_text("{")
    assert "FAILED   width/a: is damaged" in text_of(status.scan(sweep))


def test_nothing_yet(tmp_path, capsys):
    assert status.main([f"outputs={tmp_path}"]) == 0
    assert capsys.readouterr().out == "no cells yet\n"


@pytest.mark.parametrize("closed", ["", "width"])
def test_a_folder_that_cannot_be_read_is_one_line(closed, sweep, monkeypatch, capsys):
    refuse_to(monkeypatch, "iterdir", sweep / closed)
    assert status.main([f"outputs={sweep}"]) == 2
    assert capsys.readouterr().err == f"outputs={sweep / closed}: cannot be read: permission denied\n"


def test_a_cell_that_cannot_be_read_is_told_beside_the_others(sweep, monkeypatch):
    refuse_to(monkeypatch, "open", sweep / "width" / "a" / "status.json")
    text = text_of(status.scan(sweep))
    assert "FAILED   width/a: cannot be read: permission denied" in text and "running  width/b" in text


def refuse_to(monkeypatch, action, closed):
    original = getattr(Path, action)

    def guarded(path, *args, **settings):
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *args, **settings)

    monkeypatch.setattr(Path, action, guarded)


def test_it_starts_at_once():
    """The status imports neither torch nor pandas nor Hydra, so that it starts fast."""
    heavy = "('torch', 'pandas', 'hydra', 'omegaconf', 'numpy')"
    code = f"import sys, src.status; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_a_cell_says_how_far_it_is(tmp_path, monkeypatch):
    from src.config import sweep
    from src.runner import cell

    seen, write = [], store.write_json

    def watched(path, value):
        seen.append((path.name, value))
        write(path, value)

    monkeypatch.setattr(store, "write_json", watched)
    overrides = ["+experiment=cluster_width", "profile=smoke", "model.width=6", "tracking.mode=disabled"]
    (config,) = sweep.expand(
        [*overrides, f"outputs={tmp_path}", "checkpoint_every=0", "steps=30", "stop.check_every=10"]
    )
    cell.run(config, "python", log=lambda line: None)
    beats = [value for name, value in seen if name == "status.json" and value["state"] == "running"]
    assert {"since", "begun_at", "beat", "steps", "forced"} <= beats[0].keys()
    steps = [beat["step"] for beat in beats[1:]]
    assert steps == sorted(steps) and steps[-1] > 0 and all(beat["since"] == beats[0]["since"] for beat in beats)
    assert json.loads((config.folder / "status.json").read_text())["state"] == "done"
