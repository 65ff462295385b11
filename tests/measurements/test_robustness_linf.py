"""ℓ∞ radii of networks on clusters in full coordinates, and what a frame of the means changes."""

import pytest
import torch

from src.data import clusters
from src.errors import ConfigError
from src.measurements import robustness_linf
from src.models import two_layer_relu
from src.optimizers import ngd, signum
from src.oracles.clusters import feature_averaging
from src.training.objectives import exponential
from src.types import Snapshot
from tests.networks import random_network
from tests.problems import train

FULL = {"k": 4, "d": 64, "n": 16, "n_test": 40, "coordinates": "full"}


def measured(task, params, **options):
    model = two_layer_relu.build(task, width=params["b"].shape[1])
    return robustness_linf.build(task, model, **options)(Snapshot(0, params, torch.zeros(len(params["b"]))))


@pytest.mark.parametrize("frame", ["random", "axes"])
def test_certificate_below_attack_below_the_rays_on_every_point(frame):
    task = clusters.build([0, 1], **FULL, sigma=0.3, frame=frame)
    row = measured(task, feature_averaging(task.facts["means"], task.facts["labels"]), points=12, keep=2)
    certificate, attack = row["linf_certificate_radii"], row["linf_attack_radii"]
    known = ~attack.isnan()
    assert known.all() and (certificate <= attack * (1 + 1e-6))[known].all()
    assert (row["linf_certificate_violations"] == 0).all() and (row["linf_attack_unflipped"] == 0).all()
    assert (row["linf_attack_median"] <= row["linf_universal_median"] * (1 + 1e-9)).all()
    # sign(w₊ − w₋) = sign(z) for feature averaging
    torch.testing.assert_close(row["linf_universal_median"], row["linf_z_median"])


def trained(rule, frame):
    """Return the outputs at the means after training without noise, from a start that is rotated with the frame."""
    task = clusters.build([0, 1], **FULL, sigma=0.0, frame=frame)
    model = two_layer_relu.build(task, width=6)
    start = random_network(2, 6, 4, seed=1)
    start = {name: 0.01 * leaf for name, leaf in start.items()}
    start["w"] = start["w"] @ task.facts["means"] / 8
    params, _ = train(rule.build(task, model, lr=0.05), exponential(task, model), task, start, 40)
    return model.apply(params, task.facts["means"])


@pytest.mark.parametrize(("rule", "same"), [(ngd, True), (signum, False)])
def test_the_frame_changes_training_only_for_rules_that_do_not_commute(rule, same):
    """Without noise the data of the two frames are rotations of each other."""
    axes, random = (trained(rule, frame) for frame in ("axes", "random"))
    assert torch.allclose(axes, random, rtol=1e-8) == same


def test_needs_full_coordinates_of_clusters():
    reduced = clusters.build([0], k=4, d=64, n=16)
    with pytest.raises(ConfigError, match="full"):
        robustness_linf.build(reduced, None)
    with pytest.raises(ConfigError, match="clusters"):
        robustness_linf.build(reduced._replace(facts={}), None)
