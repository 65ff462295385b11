"""Bias-free homogeneous multi-layer perceptron of any depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from src.constraints import Count, Positive, Within
from src.errors import ConfigError
from src.randomness import normal
from src.types import Model, Params, Task


def build(
    task: Task,
    *,
    depth: Count = 2,
    width: Count = 64,
    activation: Literal["relu", "quadratic"] = "relu",
    power: Annotated[float, Within(1)] = 2.0,
    scale: Positive = 0.3,
) -> Model:
    """Build f(x) = W_K φ(W_{K−1} φ(… W_1 x)), homogeneous of degree L = 1 + q + … + q^{K−1}.

    Leaves: "w1" ``[M, width, d]``, …, the last ``[M, 1, width]``. Images are flattened.

    Args:
        task: determines the shape of the inputs, and the dtype and device of the parameters.
        depth: K, the number of weight layers.
        width: width of every hidden layer.
        activation: φ(z) = max(z, 0)^q, or z² (then q is 2).
        power: q.
        scale: α; weights are drawn from N(0, α²/fan_in).

    Raises:
        ConfigError: for a quadratic activation with a power other than 2.
    """
    if activation == "quadratic" and power != 2:
        raise ConfigError("model.power", power, "must be 2 with model.activation=quadratic")
    inputs = task.x.shape[task.y.ndim :]
    widths = [math.prod(inputs), *[width] * (depth - 1), 1]

    def phi(z: Tensor) -> Tensor:
        if activation == "quadratic":
            return z**2
        return z.relu() if power == 1 else ReluPower.apply(z, power)

    def init(seeds: Sequence[int]) -> Params:
        params = {}
        for k in range(1, depth + 1):
            shape = (widths[k], widths[k - 1])
            draws = torch.stack([normal(seed, "weights", shape, k) for seed in seeds])
            params[f"w{k}"] = (scale / math.sqrt(widths[k - 1]) * draws).to(task.x)
        return params

    def apply(params: Params, x: Tensor) -> Tensor:
        # Examples are columns: with shared inputs the first layer of all members is then one matrix product.
        h = x.flatten(x.ndim - len(inputs)).mT
        for k, weight in enumerate(params.values()):
            h = weight @ (phi(h) if k else h)
        return h.squeeze(-2)

    return Model(init, apply, degree=sum(power**k for k in range(depth)))


class ReluPower(torch.autograd.Function):
    """Compute max(z, 0)^q and its derivative q max(z, 0)^{q−1} in half of the passes over z that autograd needs."""

    @staticmethod
    def forward(ctx, z: Tensor, power: float) -> Tensor:
        """Return max(z, 0)^q."""
        h = z.relu()
        ctx.save_for_backward(h)
        ctx.power = power
        return h**power

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        """Return ``grad`` times q max(z, 0)^{q−1}."""
        (h,) = ctx.saved_tensors
        slope = h if ctx.power == 2 else h ** (ctx.power - 1)
        return (grad * slope).mul_(ctx.power), None
