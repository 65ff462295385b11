import pytest
import torch

from src.errors import ConfigError
from src.optimizers.schedule import descend, first_step, power_law, times

PARAMS = {"w": torch.zeros(2, 3, dtype=torch.float64)}


def test_power_law():
    rate = power_law(0.5, exponent=0.8, t0=1.0, degree=3.0)
    step = torch.tensor([0, 9])
    torch.testing.assert_close(rate(step), torch.tensor([0.5, 0.5 * 10**-0.8], dtype=torch.float64))
    shifted = power_law([0.5, 2.0], exponent=1.0, t0=100.0, degree=3.0)
    torch.testing.assert_close(shifted(torch.tensor([100, 300])), torch.tensor([0.25, 0.5], dtype=torch.float64))
    torch.testing.assert_close(times(3.0, rate)(step), 3 * rate(step))


@pytest.mark.parametrize(("degree", "exponent"), [(3.0, 0.66), (7.0, 0.8), (4.0, 0.75), (1.0, 0.0), (2.0, 1.1)])
def test_warns_outside_the_range_of_the_theorem(degree, exponent):
    with pytest.warns(UserWarning, match="outside the theorem's range"):
        power_law(1.0, exponent=exponent, t0=1.0, degree=degree)


@pytest.mark.parametrize(("degree", "exponent"), [(3.0, 0.8), (7.0, 0.9), (15.0, 1.0), (1.0, 0.5), (None, 0.0)])
def test_no_warning_inside(degree, exponent, recwarn):
    power_law(1.0, exponent=exponent, t0=1.0, degree=degree)
    assert not recwarn.list


def test_listed_learning_rates_are_one_for_each_member():
    rate = power_law([1.0, 10.0], exponent=0.0, t0=1.0, degree=None)
    moved = descend(PARAMS, {"w": torch.ones(2, 3, dtype=torch.float64)}, rate(first_step(PARAMS, rate)))
    assert moved["w"].tolist() == [[-1.0] * 3, [-10.0] * 3]
    with pytest.raises(
        ConfigError, match=r"optimizer\.lr=\[1\.0,10\.0,2\.0\]: must be one number or 2, one for each seed"
    ):
        first_step(PARAMS, power_law([1.0, 10.0, 2.0], exponent=0.0, t0=1.0, degree=None))
