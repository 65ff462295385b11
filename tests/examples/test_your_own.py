"""The blocks of docs/your_own.md run as they stand."""

import re
import sys
import warnings
from pathlib import Path

import numpy as np

from src import run as entry

TEXT = (Path(__file__).parents[2] / "docs" / "your_own.md").read_text(encoding="utf-8")
CLASS, PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(COMMAND,) = re.findall(r"```sh\npython -m src.run (.*?)\n```", TEXT)


def test_the_command_measures_the_class(tmp_path, monkeypatch, capfd):
    x = np.random.default_rng(0).normal(size=(20, 6))
    np.savez(tmp_path / "points.npz", x=x, y=np.sign(x[:, 0]))
    (tmp_path / "my_networks.py").write_text(CLASS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    monkeypatch.setattr("sys.argv", ["run"])
    assert entry.run([*COMMAND.split(), "profile=smoke", "tracking.mode=disabled"]) == 0
    said = capfd.readouterr().err
    columns = re.findall(r"^\| `([^|]*)` \|", TEXT, re.MULTILINE)
    for name in re.findall(r"\w+_\w+", " ".join(columns).replace("matrix_srank_k", "matrix_srank_1")):
        assert f"  {name} " in said, name


def test_the_python_runs(capfd):
    with warnings.catch_warnings(action="error", category=UserWarning):
        exec(compile(PYTHON, "docs/your_own.md", "exec"), {"__name__": "__main__"})
    assert not capfd.readouterr().err
