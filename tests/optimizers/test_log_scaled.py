from decimal import Decimal, getcontext

import pytest
import torch

from src.optimizers.log_scaled import ema, rms_ema, zero_nonfinite, zeros
from src.types import ScaledGrad

LOG_SCALES = [0.0, 3.0, -1.0, -800.0, -810.0, -5000.0, -5001.0, -4000.0]


def gradients():
    draw = torch.Generator().manual_seed(0)
    for s in LOG_SCALES:
        direction = {"w": torch.randn(2, 3, generator=draw, dtype=torch.float64)}
        yield ScaledGrad(direction, torch.tensor([s, s / 2], dtype=torch.float64))


def decimals(grad, name="w"):
    """Return the true gradient as decimals, which do not underflow."""
    return [
        [Decimal(float(g)) * Decimal(float(s)).exp() for g in row]
        for row, s in zip(grad.direction[name], grad.log_scale, strict=True)
    ]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999])
def test_averages_equal_long_arithmetic_over_thousands_of_decades(beta):
    getcontext().prec = 60
    keep, take = Decimal(beta), 1 - Decimal(beta)
    params = {"w": torch.zeros(2, 3, dtype=torch.float64)}
    m, root = zeros(params), zeros(params)
    exact_m = exact_v = [[Decimal(0)] * 3] * 2
    for grad in gradients():
        m, root = ema(m, grad, beta), rms_ema(root, grad, beta)
        g = decimals(grad)
        exact_m = [[keep * a + take * b for a, b in zip(*rows, strict=True)] for rows in zip(exact_m, g, strict=True)]
        exact_v = [
            [keep * a + take * b * b for a, b in zip(*rows, strict=True)] for rows in zip(exact_v, g, strict=True)
        ]
        for computed, exact in ((m, exact_m), (root, [[a.sqrt() for a in row] for row in exact_v])):
            computed = decimals(ScaledGrad(**computed))
            for computed_row, exact_row in zip(computed, exact, strict=True):
                largest = max(abs(a) for a in exact_row)
                assert (
                    max(abs(a - b) for a, b in zip(computed_row, exact_row, strict=True)) <= Decimal("1e-11") * largest
                )


def test_squares_do_not_underflow():
    """Entries 1e-200 of the largest are not lost in √v, whose square would be."""
    grad = ScaledGrad({"w": torch.tensor([[1.0, 1e-200]], dtype=torch.float64)}, torch.zeros(1, dtype=torch.float64))
    root = rms_ema(zeros(grad.direction), grad, 0.9)["direction"]["w"][0]
    torch.testing.assert_close(root[1] / root[0], torch.tensor(1e-200, dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_becomes_zero_for_its_member_only(value):
    direction = {"w": torch.ones(3, 2, dtype=torch.float64)}
    direction["w"][1, 0] = value
    log_scale = torch.tensor([0.0, 0.0, value], dtype=torch.float64)
    cured = zero_nonfinite(ScaledGrad(direction, log_scale))
    assert cured.direction["w"].tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert cured.log_scale.tolist() == [0.0, -torch.inf, -torch.inf]
    m = ema(ema(zeros(direction), cured, 0.9), cured, 0.9)
    assert m["direction"]["w"].isfinite().all()
