"""The interface of a t-NN to code that regularises, truncates or measures its t-layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from src.errors import ConfigError
from src.tensors.transforms import Transform
from src.types import Model, Params


class TensorNetwork(NamedTuple):
    """A ``Model`` (its first three fields) with t-layers ``w1``, ``w2``, …

    ``transform`` is O, with M = ``scale``·O, and Ŵ = O(W) ``[M, slices, D, d]``: with O orthogonal, norms of Ŵ are
    those of W. ``hat(params)`` transforms the parameters once for any number of calls of ``forward``:
    ``apply(params, x) = forward(hat(params), x)``. ``layers(hat(params))`` are the Ŵ of the layers, products of their
    factors; ``forward`` accepts them instead of the factors. ``scaled(params, factors)`` multiplies every layer in
    ``factors`` by its number ``[M]``; ``mapped(params, f)`` replaces Ŵ by ``f(Ŵ)``, and is None for factored layers.
    """

    init: Callable[[Sequence[int]], Params]
    apply: Callable[[Params, Tensor], Tensor]
    degree: float | None
    transform: Transform
    scale: float
    hat: Callable[[Params], Params]
    forward: Callable[[Params, Tensor], Tensor]
    layers: Callable[[Params], Params]
    scaled: Callable[[Params, Params], Params]
    mapped: Callable[[Params, Callable[[Tensor], Tensor]], Params] | None


def prepared(model: Model, params: Params) -> tuple[Callable[[Params, Tensor], Tensor], Params]:
    """Return ``(forward, hat)`` with ``forward(hat, x) = model.apply(params, x)``, weights transformed once."""
    if isinstance(model, TensorNetwork):
        return model.forward, model.hat(params)
    return model.apply, params


def layer_norm(network: TensorNetwork, hat: Tensor) -> Tensor:
    """Return ‖W‖_F ``[M]`` of a t-layer Ŵ = O(W), under any O."""
    return network.transform.inverse(hat).flatten(1).norm(dim=1)


def tensor_network(model: Model, measurement: str) -> TensorNetwork:
    """Return the model if it has t-layers, or raise a ConfigError that names ``measurement``."""
    if not isinstance(model, TensorNetwork):
        raise ConfigError("measurements", measurement, "needs t-layers: model=tnn")
    return model
