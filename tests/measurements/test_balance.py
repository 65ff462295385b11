import pytest
import torch

from src.errors import ConfigError
from src.measurements import balance
from src.types import Snapshot


def test_balance_error_is_relative_to_the_largest_neuron():
    w = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]).double()
    b = torch.tensor([[4.0, 1.0], [4.0, 1.0]]).double()
    v = torch.tensor([[5.0, -1.0], [-5.0, 2.5]]).double()
    row = balance.build(None, None)(Snapshot(0, {"w": w, "b": b, "v": v}, None))
    assert row["balance_error"].tolist() == pytest.approx([0, 1.5 / 5])


def test_other_networks_are_rejected():
    with pytest.raises(ConfigError, match="two_layer_relu"):
        balance.build(None, None)(Snapshot(0, {"w": torch.ones(1, 2)}, None))
