"""Measurements accept a diverged member, whose parameters are NaN, and the other members do not change."""

import pytest
import torch

from src.config import sweep
from src.runner import build
from src.types import Snapshot
from tests.runner.test_device import small

BETWEEN_THEM = (  # every measurement
    "cluster_attacks", "cluster_trajectory", "linear_margin", "schatten_margin", "tnn_bounds", "tnn_departures",
    "tnn_teacher", "tnn_truncation",
)  # fmt: skip


def assembled(name):
    config = small(sweep.first([f"+experiment={name}", "profile=smoke", "seeds=[101,102]"])[0])
    parts = build.assemble(config)
    return parts.measurements + parts.last, build.start(config, parts).params


def columns(measurements, params, risk):
    snapshot = Snapshot(step=3, params=params, log_risk=torch.tensor([-1.0, risk]))
    return {name: column for measure in measurements for name, column in measure(snapshot).items()}


@pytest.mark.parametrize("name", BETWEEN_THEM)
def test_a_diverged_member_does_not_affect_the_others(name):
    measurements, params = assembled(name)
    healthy = columns(measurements, params, -1.0)
    broken = {key: torch.stack([leaf[0], torch.full_like(leaf[1], torch.nan)]) for key, leaf in params.items()}
    for column, values in columns(measurements, broken, torch.nan).items():
        torch.testing.assert_close(values[0], healthy[column][0], rtol=1e-6, atol=1e-9, equal_nan=True, msg=column)


def test_outputs_that_are_nan_are_errors():
    measurements, params = assembled("muon_margin")
    row = columns(measurements, {key: torch.full_like(leaf, torch.nan) for key, leaf in params.items()}, torch.nan)
    assert (row["train_error"] == 1).all() and (row["test_error"] == 1).all()
