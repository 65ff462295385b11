"""``+experiment=your_margin`` on files of the user: it runs, wrong inputs are one line, changed files another cell."""

import json
import sys

import numpy as np
import pytest

from src import run as entry
from src.config import sweep

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.a, self.b = nn.Linear(3, width, bias=False), nn.Linear(width, 1, bias=False)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))

class Biased(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))

class Closure(torch.optim.SGD):
    def step(self, closure):
        return super().step(closure)

number = 3

def function():
    return number
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with data, networks and an optimizer, from which the command runs."""
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.where(x[:, 0] > 0, 1, -1)
    np.savez(tmp_path / "mine.npz", x=x, y=y, x_test=x, y_test=y)
    np.savez(tmp_path / "unlabelled.npz", x=x)
    (tmp_path / "my_networks.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.argv", ["run"])
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return tmp_path


def words(**changes):
    keys = {"data.path": "mine.npz", "model.path": "my_networks.Net", "optimizer.path": "torch.optim.SGD"}
    keys = keys | {key.replace("_path", ".path"): value for key, value in changes.items()}
    given = [f"{key}={value}" for key, value in keys.items() if value is not None]
    return ["+experiment=your_margin", "profile=smoke", "tracking.mode=disabled", "outputs=out", *given]


def test_it_runs_and_prints_the_numbers(here, capfd):
    assert entry.run([*words(), "seeds=[0,1]", "model.arguments={width:4}", "steps=20"]) == 0
    said = capfd.readouterr().err
    for column in ("gamma_l2", "kappa_msp", "matrix_srank_1", "test_pgd40_accuracy"):
        assert f"  {column} " in said
    (cell,) = (here / "out/your_margin").glob("torch.optim.SGD-*")
    members = json.loads((cell / "summary.json").read_text())["members"]
    assert [member["seed"] for member in members] == [0, 1]
    assert all(np.isfinite(member["gamma_l2"]) for member in members)
    for file in ("config.yaml", "provenance.json", "metrics.jsonl"):
        assert str(here) not in (cell / file).read_text()


WRONG = {
    "a module that is not homogeneous": ({"model_path": "my_networks.Biased"}, "is not homogeneous, so it has no"),
    "no labels": ({"data_path": "unlabelled.npz"}, "has no array y of labels; it has x"),
    "L-BFGS": ({"optimizer_path": "torch.optim.LBFGS"}, "needs a closure"),
    "an own optimizer with a closure": ({"optimizer_path": "my_networks.Closure"}, "needs a closure"),
    "a file that does not exist": ({"data_path": "nowhere.npz"}, "cannot be read: no such file"),
    "a folder": ({"data_path": "."}, "cannot be read: is a directory"),
    "a module that does not exist": ({"model_path": "no_such.Net"}, "cannot be imported: No module named 'no_such'"),
    "a class that does not exist": (
        {"model_path": "my_networks.Nett"},
        "module 'my_networks' has no attribute",
    ),
    "a module with a mistake": ({"model_path": "my_broken.Net"}, "cannot be imported: invalid syntax"),
    "a name without a module": ({"model_path": "Net"}, "cannot be imported"),
    "what is no module": ({"model_path": "my_networks.number"}, "must be a class of torch.nn.Module"),
    "a class of something else": ({"model_path": "torch.optim.SGD"}, "must be a class of torch.nn.Module"),
    "a function of something else": ({"model_path": "my_networks.function"}, "must give a torch.nn.Module, not int"),
    "a class that needs arguments": ({"model_path": "torch.nn.Linear"}, "model.arguments=null: rejected by torch.nn"),
    "what is no optimizer": ({"optimizer_path": "my_networks.Net"}, "must be a subclass of torch.optim.Optimizer"),
    "no data": ({"data_path": None}, "data.path=?: missing; must be a file.npz"),
    "no model": ({"model_path": None}, "model.path=?: missing; must be an import path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_one_line_and_exit_code_two(name, here, capfd):
    changes, message = WRONG[name]
    assert entry.run(words(**changes)) == 2
    said = capfd.readouterr().err.strip().splitlines()
    (line,) = [line for line in said if "already finished" not in line]
    assert message in line
    key = next(iter(changes)).replace("_path", ".path")
    assert line.startswith((f"{key}=", "model.arguments="))


def test_a_module_that_is_not_homogeneous_is_attacked_on_demand(here, capfd):
    more = ["model.homogeneous=false", "~measurements.norm_margins", "steps=5"]
    assert entry.run([*words(model_path="my_networks.Biased"), *more]) == 0
    assert "test_l2_accuracy" in capfd.readouterr().err


def test_a_cell_is_identified_by_the_content_of_the_files(here):
    """Its folder does not change with the place of the data, but with every change of data or sources."""
    (first,) = sweep.expand(words())
    (moved,) = sweep.expand(words(data_path=here / "mine.npz"))
    assert moved.folder.name == first.folder.name
    x = np.ones((4, 3))
    np.savez(here / "mine.npz", x=x, y=[1, -1, 1, -1])
    (other_data,) = sweep.expand(words())
    with (here / "my_networks.py").open("a") as file:
        file.write("\n# changed\n")
    (other_network,) = sweep.expand(words())
    assert len({cell.folder.name for cell in (first, other_data, other_network)}) == 3


def test_classes_of_torch_are_identified_by_their_names(here):
    (cell,) = sweep.expand(["+experiment=cluster_width", "profile=smoke", "model.width=4", "optimizer=torch_optimizer"])
    assert cell.files is None


@pytest.mark.parametrize("option", ["optimizer=muon", "data=mnist", "model=mlp"])
def test_each_of_the_three_combines_with_the_built_in_ones(here, option):
    (cell,) = sweep.expand([*[word for word in words() if not word.startswith(option.split("=")[0])], option])
    assert cell.label == ("muon" if option == "optimizer=muon" else "torch.optim.SGD")
