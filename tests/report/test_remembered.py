"""A number is judged again if, and only if, its definition, its rows or the code has changed."""

import json

import pytest

from src.claims import verdicts
from src.claims.schema import Number
from src.report import remembered
from src.results.frames import Frames
from tests import fabricated

RADIUS = {"experiment": ["cluster_width"], "name": "radius", "median": "z_r50", "rows": "final and model_width == 8"}


@pytest.fixture
def cells(tmp_path):
    return {"cluster_width": fabricated.sweep(tmp_path, "cluster_width", {"model.width": [4, 8]})}


def judged(cells, file, planned=verdicts.NONE_PLANNED, **changed):
    """Return the result of a number, and whether its rows were read."""
    frames = Frames(cells)
    with remembered.remembered(file, cells) as judge_number:
        result = judge_number(Number(**RADIUS | changed), frames, planned, ("P1-C1", 0))
    return result, bool(frames._read)


def test_a_number_is_judged_again_when_an_input_changes(cells, tmp_path, monkeypatch):
    file = tmp_path / "numbers.json"
    first, was_judged = judged(cells, file)
    assert was_judged
    assert judged(cells, file) == (first, False)
    assert judged(cells, file, rows="final and model_width == 4")[1]
    assert judged(cells, file, planned={"cluster_width": 3})[1]
    assert judged(cells, file)[1]  # only what the last report used is kept
    record = cells["cluster_width"][1] / "metrics.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    record.write_text("".join(json.dumps(row | {"z_r50": 2 * row["z_r50"]}) + "\n" for row in rows))
    assert judged(cells, file)[0].estimate == pytest.approx(2 * first.estimate)
    assert not judged(cells, file)[1]
    source = tmp_path / "rule.py"
    source.write_text("LEVEL = 0.9\n")
    monkeypatch.setattr(remembered, "CODE", [*remembered.CODE, source])
    assert judged(cells, file)[1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"key": {"verdict": "sure"}}'])
def test_a_damaged_file_of_results_is_written_anew(text, cells, tmp_path):
    file = tmp_path / "numbers.json"
    first = judged(cells, file)
    before = file.read_text()
    file.write_text(text)
    assert judged(cells, file) == first
    assert file.read_text() == before
