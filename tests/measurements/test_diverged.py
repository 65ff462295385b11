"""A member that diverged, whose parameters are no numbers, is measured, and no other is measured otherwise for it."""

import pytest
import torch

from src.config import sweep
from src.runner import build
from src.types import Snapshot

BETWEEN_THEM = (  # every measurement
    "cluster_attacks", "cluster_trajectory", "linear_margin", "schatten_margin", "tnn_bounds", "tnn_departures",
    "tnn_teacher", "tnn_truncation",
)  # fmt: skip


def assembled(name):
    config = sweep.expand([f"+experiment={name}", "profile=smoke", "seeds=[101,102]"])[0]
    parts = build.assemble(config)
    return parts.measurements + parts.last, build.start(config, parts).params


def columns(measurements, params, risk):
    snapshot = Snapshot(step=3, params=params, log_risk=torch.tensor([-1.0, risk]))
    return {name: column for measure in measurements for name, column in measure(snapshot).items()}


@pytest.mark.parametrize("name", BETWEEN_THEM)
def test_a_member_that_diverged_stops_no_measurement(name):
    measurements, params = assembled(name)
    healthy = columns(measurements, params, -1.0)
    broken = {key: torch.stack([leaf[0], torch.full_like(leaf[1], torch.nan)]) for key, leaf in params.items()}
    for column, values in columns(measurements, broken, torch.nan).items():
        torch.testing.assert_close(values[0], healthy[column][0], rtol=1e-6, atol=1e-9, equal_nan=True, msg=column)


def test_outputs_that_are_no_numbers_are_errors():
    measurements, params = assembled("muon_margin")
    found = columns(measurements, {key: torch.full_like(leaf, torch.nan) for key, leaf in params.items()}, torch.nan)
    assert (found["train_error"] == 1).all() and (found["test_error"] == 1).all()
