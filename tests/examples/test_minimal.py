"""The example of sixty lines runs as a newcomer runs it, and shows what it says."""

import re
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "minimal.py"


@pytest.fixture(scope="module")
def tables():
    """The numbers of the two tables that it prints."""
    with redirect_stdout(StringIO()) as printed:
        runpy.run_path(str(FILE), run_name="__main__")
    rows = [line for line in printed.getvalue().splitlines() if line.startswith("steepest descent in")]
    numbers = [[float(number) for number in re.findall(r"[\d.]+", re.sub(r"in l2", "in l", row))] for row in rows]
    return numbers[:3], numbers[3:]


def test_it_is_short():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 60


def test_every_optimizer_has_the_largest_margin_of_its_own_norm(tables):
    margins, _ = tables
    assert [len(row) for row in margins] == [3, 3, 3]
    for norm in range(3):
        column = [row[norm] for row in margins]
        assert column[norm] == max(column)
        assert column[norm] > 1.05 * sorted(column)[1]


def test_one_small_vector_flips_the_outputs_and_a_random_one_does_not(tables):
    _, flips = tables
    for length, random in flips:
        assert length < 1
        assert random < 1
