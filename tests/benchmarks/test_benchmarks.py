"""Every part runs at its smallest size and everything once; no time is asserted."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import summary, timing, workers
from src.config import sweep


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "seconds", lambda work, smoke: (work(), 1.0)[1])
        composed = SimpleNamespace(run=lambda command, **_: sweep.jobs(command[3:]))  # what it would run is valid
        patched.setattr(workers, "subprocess", composed)
        assert benchmarks.main(["--smoke", f"outputs={folder}"]) == 0
    return folder / "benchmarks"


def test_a_time_is_positive():
    assert timing.seconds(lambda: sum(range(100)), smoke=True) > 0


@pytest.mark.parametrize("part", benchmarks.PARTS)
def test_every_part_writes_its_ratios_and_the_machine(outputs, part):
    record = json.loads((outputs / f"{part}.json").read_text())
    assert record["rows"]
    assert all(row["ratio"] > 0 and row["seconds"] > 0 for row in record["rows"])
    assert {"date", "git", "cpu", "cores", "threads", "torch"} <= set(record)


def test_all_parts_are_in_the_table_and_in_the_figure(outputs):
    text = (outputs / "ratios.md").read_text()
    assert all(f"\n| {part} | " in text for part in benchmarks.PARTS)
    assert "at the smallest size" in text
    assert (outputs / "ratios.png").stat().st_size > 10_000


def test_the_figure_shows_every_ratio_on_a_logarithmic_axis():
    rows = [{"series": s, "case": c, "ratio": r} for s, c, r in [("A over B", "x", 2.0), ("A over B", "y", 8.0)]]
    (axes,) = summary.figure([{"part": "tensors", "rows": rows}]).axes
    assert axes.get_xscale() == "log"
    assert sorted(axes.lines[0].get_xdata()) == [2.0, 8.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]
