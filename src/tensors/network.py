"""A model whose layers are tensors: what the t-NN tells those that regularise, truncate or measure its layers."""

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
    those of W. ``hat(params)`` takes what is kept to the transform domain, once for any number of calls of
    ``forward``: ``apply(params, x) = forward(hat(params), x)``. ``layers(hat(params))`` are the Ŵ of whole layers,
    products of their factors; in place of the factors they make the same network. ``scaled(params, factors)``
    multiplies every layer named in ``factors`` by its number ``[M]``; ``mapped(params, f)`` replaces Ŵ by ``f(Ŵ)``,
    and is None for layers that are kept as factors.
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
    """``(forward, hat)`` with ``forward(hat, x) = model.apply(params, x)``: weights are transformed once for many x."""
    if isinstance(model, TensorNetwork):
        return model.forward, model.hat(params)
    return model.apply, params


def layer_norm(network: TensorNetwork, hat: Tensor) -> Tensor:
    """‖W‖_F ``[M]`` of a t-layer Ŵ = O(W), under any O."""
    return network.transform.inverse(hat).flatten(1).norm(dim=1)


def tensor_network(model: Model, reader: str) -> TensorNetwork:
    """The model itself; a ConfigError on behalf of the measurement ``reader`` for networks without t-layers."""
    if not isinstance(model, TensorNetwork):
        raise ConfigError("measurements", reader, "reads the t-layers of model=tnn, of no other network")
    return model
