"""Training and measuring on a second device: nothing is mixed with the CPU, and the rows are the same bytes.

The second device is made of the CPU (``tests/elsewhere.py``): it knows where tensors are, not how a GPU rounds.
"""

import pytest
import torch
from torch.utils._pytree import tree_map

from src.attacks.pgd import pgd as attack
from src.config import sweep
from src.config.components import GROUPS, component
from src.config.validation import parameters
from src.measurements import pgd
from src.runner import build
from src.runner import cell as cells
from src.training import checkpoint
from tests.elsewhere import elsewhere
from tests.runner.test_cell import Killed, mortal

QUIET = ["profile=smoke", "tracking.mode=disabled", "report=false"]
BETWEEN_THEM = (  # every component, measurement and attack; a cell is composed only if it adds one
    "choice_margin variant/choice_margin=muon,torch_muon",
    "cluster_attacks",
    "cluster_trainers variant/cluster_trainers=gd",
    "linear_margin optimizer=signgd,muon",
    "muon_margin",
    "polar_margin variant/polar_margin=jordan5_bfloat16",
    "schatten_margin optimizer.p=4",
    "tnn_bounds data.n=100",
    "tnn_departures variant/tnn_departures=none",
    "tnn_teacher model.depth=2",
    "tnn_truncation",
)
FEWER = {"points": 4, "random_starts": 2, "opposite_means": 4, "train_points": 20, "iterations": 50, "restarts": 2}
"""Upper limits of options of measurements; their lists, except of names, are cut to two entries."""


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


def kinds(words, outputs):
    """Return, of an experiment, one cell for each set of components, with few steps, examples and attacked points."""
    found = {}
    for config in sweep.expand([f"+experiment={words[0]}", *words[1:], *QUIET, f"outputs={outputs}"]):
        components = tuple(getattr(config, group).name for group in GROUPS)
        found.setdefault(components, small(config))
    return list(found.values())


def small(config, steps=3):
    """Return a config with few steps, examples and attacked points."""
    n = 24 if config.data.name == "clusters" else min(config.data.n, 100)
    return config.model_copy(update={
        "steps": min(config.steps, steps),
        "data": config.data.model_copy(update={"n": n, "n_test": 50}),
        "measurements": {name: fewer(name, options) for name, options in config.measurements.items()},
    })  # fmt: skip


def fewer(name, options):
    """Return the options of a measurement with at most ``FEWER`` of each."""
    if options is None:
        return None
    known = {key: given.default for key, given in parameters(component("measurements", name)).items()} | options
    cut = {key: min(most, known[key]) for key, most in FEWER.items() if known.get(key)}
    cut |= {key: [1, 2] for key in ("curve", "ranks", "values") if key in known}
    return options | cut


def rows_of(config):
    cells.run(config, "command", log=lambda line: None)
    return (config.folder / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("words", BETWEEN_THEM)
def test_every_experiment_measures_elsewhere_what_it_measures_here(words, tmp_path, second_device, monkeypatch):
    monkeypatch.setattr(pgd, "pgd", lambda *args, steps, **given: attack(*args, steps=min(steps, 5), **given))
    for config in kinds(words.split(), tmp_path):
        assert rows_of(config.model_copy(update={"device": "cuda"})) == rows_of(config)


def test_a_killed_cell_goes_on_elsewhere(tmp_path, second_device, monkeypatch):
    config, *_ = sweep.expand(["+experiment=muon_margin", *QUIET, f"outputs={tmp_path}", "optimizer=adam"])
    config, train = small(config, steps=30), cells.loop.train
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
