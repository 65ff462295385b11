"""Training and measuring on a second device: nothing is mixed with the CPU, and the rows are the same bytes.

The second device is made of the CPU (``tests/elsewhere.py``): it knows where tensors are, not how a GPU rounds.
"""

import pytest
import torch
from torch.utils._pytree import tree_map

from src.config import sweep
from src.config.components import GROUPS
from src.runner import build
from src.runner import cell as cells
from src.training import checkpoint
from tests.elsewhere import elsewhere
from tests.runner.test_cell import Killed, mortal

QUIET = ["profile=smoke", "tracking.mode=disabled", "report=false"]
BETWEEN_THEM = (  # every component, measurement and attack
    "choice_margin", "cluster_attacks", "cluster_balance", "cluster_trainers", "linear_margin", "muon_margin",
    "polar_margin", "schatten_margin", "tnn_bounds", "tnn_departures", "tnn_teacher", "tnn_truncation",
)  # fmt: skip


@pytest.fixture
def second_device(monkeypatch):
    """``device=cuda`` is the second device; checkpoints, which know only true devices, are written from the CPU."""
    placed, content, load = build.placed, checkpoint.content, checkpoint.load

    def moved(tree, device):
        return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf, tree)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        build, "placed", lambda task, device, dtype: placed(task, "meta" if device == "cuda" else device, dtype)
    )
    monkeypatch.setattr(checkpoint, "content", lambda tree, written: content(moved(tree, "cpu"), written))
    monkeypatch.setattr(checkpoint, "load", lambda path, device: moved(load(path, torch.device("cpu")), device))
    with elsewhere():
        yield


def kinds(name, outputs):
    """Return, of an experiment, one cell for each set of components, with few steps and few attacked points."""
    found = {}
    for config in sweep.expand([f"+experiment={name}", *QUIET, f"outputs={outputs}"]):
        components = tuple(getattr(config, group).name for group in GROUPS)
        measurements = {name: fewer(options) for name, options in config.measurements.items()}
        if "pgd" in measurements:
            measurements["pgd"] |= {"curve": [1.0], "restarts": 2}
        short = {"steps": min(config.steps, 3), "measurements": measurements}
        if config.data.name == "clusters":
            short["data"] = config.data.model_copy(update={"n": 24, "n_test": 50})
        found.setdefault(components, config.model_copy(update=short))
    return list(found.values())


def fewer(options):
    most = {"points": 4, "random_starts": 2, "opposite_means": 4, "train_points": 20, "test_points": 20}
    return options and {key: min(value, most.get(key, value)) if key in most and value else value
                        for key, value in options.items()}  # fmt: skip


def rows_of(config):
    cells.run(config, "command", log=lambda line: None)
    return (config.folder / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", BETWEEN_THEM)
def test_every_experiment_measures_elsewhere_what_it_measures_here(name, tmp_path, second_device):
    for config in kinds(name, tmp_path):
        assert rows_of(config.model_copy(update={"device": "cuda"})) == rows_of(config)


def test_a_killed_cell_goes_on_elsewhere(tmp_path, second_device, monkeypatch):
    config, *_ = sweep.expand(["+experiment=muon_margin", *QUIET, f"outputs={tmp_path}", "optimizer=adam", "steps=30"])
    train = cells.loop.train
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(cells.loop, "train", mortal(train, 12))
        rows_of(config.model_copy(update={"device": "cuda", "checkpoint_every": 0}))
    assert rows_of(config.model_copy(update={"device": "cuda"})) == rows_of(config)


def test_the_second_device_is_not_this_one():
    with elsewhere():
        there = torch.ones(3).to("meta")
        assert (there + 1).device.type == "meta" and (there + 1).tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
