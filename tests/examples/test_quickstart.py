"""The notebook runs as it stands, in a kernel of this interpreter, and draws its pictures."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(FILE, as_version=4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs_and_draws(notebook, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    nbformat.validate(notebook)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT}})
    executed = client.execute()  # raises for a cell that fails
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "is not homogeneous" in outputs[-1]["text"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_it_was_committed_as_it_ran_and_without_a_path_of_a_machine(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert str(Path.home()) not in FILE.read_text(encoding="utf-8").replace("\\/", "/")
