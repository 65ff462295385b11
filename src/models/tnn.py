"""Tensor neural networks (t-NNs): f(x) = wᵀ vec σ(W³ *_M σ(W² *_M σ(W¹ *_M x))). Wang et al. (2023).

The slice axis comes first: a layer W of D×d×c is ``[M, c, D, d]`` and the B images of a batch are one tensor
``[..., c, d, B]``, so that a slice of a product is a matrix product over the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from src.constraints import Count, Positive
from src.errors import ConfigError
from src.randomness import uniform
from src.tensors.network import TensorNetwork
from src.tensors.transforms import Name
from src.tensors.transforms import transform as _transform
from src.types import Params, Task


def build(
    task: Task,
    *,
    depth: Count = 3,
    width: Count = 32,
    rank: Count | None = None,
    transform: Name = "dct",
    scale: Positive | None = None,
    transform_seed: int = 0,
    bias: bool = True,
    init: Literal["kaiming", "norm_matched"] = "kaiming",
    gain: Positive = 1.0,
    coordinates: Literal["original", "transform"] | None = None,
) -> TensorNetwork:
    """Build a t-NN on images ``[..., d, c]``: an image is a vector of d tubes of length c.

    Leaves: ``w1 [M, c, width, d]``, …, ``v [M, c, width]`` (the paper's w) and ``b [M, 1]``; with a ``rank`` layer 1 is
    ``w1_left [M, c, width, rank]`` *_M ``w1_right [M, c, rank, d]``. Without ``bias`` the network is homogeneous of
    degree depth + 1, or 2·depth + 1 with a ``rank``.

    Args:
        task: determines d and c, precision and device.
        depth: number of t-layers.
        width: D of every t-layer.
        rank: bound r on the tubal rank; null does not factor the layers.
        transform: O in M = s·O; ``authors`` is the matrix of the released code, not orthogonal.
        scale: s; null is √(c/2), about the gain of the released code (1 with ``authors``).
        transform_seed: seed of the ``random`` transform.
        bias: whether the last layer has a bias, as in the released code.
        init: ``kaiming``: every tensor uniform in ±1/√(d·c) with d columns. ``norm_matched``: the same, then factors
            scaled so that their product has the mean F-norm √(D/3) of an unfactored layer.
        gain: factor on every t-layer at initialisation.
        coordinates: store W (``original``) or O(W) (``transform``). Gradient descent is the same in both, Adam is not;
            ``transform`` avoids the transform of weights. Null: ``transform`` where O is orthogonal and real.

    Raises:
        ConfigError: for inputs that are not matrices, a rank above d or D, or ``coordinates=transform`` with an O that
            is not orthogonal and real.
    """
    if task.x.ndim - task.y.ndim != 2:
        raise ConfigError("model.name", "tnn", "needs inputs that are matrices: data.layout=matrix")
    d, c = task.x.shape[-2:]
    if rank is not None and rank > min(d, width):
        raise ConfigError("model.rank", rank, f"must be <= {min(d, width)}, the smallest side of a layer")
    unit = _transform(transform, c, seed=transform_seed)
    if coordinates == "transform" and not (unit.orthogonal and unit.real):
        raise ConfigError("model.coordinates", coordinates, f"must be original with model.transform={transform}")
    in_transform_domain = coordinates != "original" and unit.orthogonal and unit.real
    s = scale if scale is not None else 1.0 if transform == "authors" else math.sqrt(c / 2)
    shapes = {f"w{layer}": (width, d if layer == 1 else width) for layer in range(1, depth + 1)}
    parts = {name: [name] if rank is None else [f"{name}_left", f"{name}_right"] for name in shapes}
    leaves = [leaf for of_layer in parts.values() for leaf in of_layer]

    def hat(params: Params) -> Params:
        if in_transform_domain:
            return params
        return {name: unit.forward(leaf) if name in leaves else leaf for name, leaf in params.items()}

    def forward(hat: Params, x: Tensor) -> Tensor:
        h, products = x.transpose(-1, -3), 0
        for layer in shapes:
            h = unit.forward(h)
            for leaf in (layer,) if layer in hat else (f"{layer}_right", f"{layer}_left"):
                h, products = hat[leaf] @ h, products + 1
            h = unit.inverse(h).relu()
        # ReLU is positively homogeneous, so the s of all t-products can be factored out: A *_M B = s·(A *_O B).
        outputs = s**products * (hat["v"].flatten(1).unsqueeze(1) @ h.flatten(-3, -2)).squeeze(-2)
        return outputs + hat["b"] if bias else outputs

    def layers(hat: Params) -> Params:
        if rank is None:
            return {layer: hat[layer] for layer in shapes}
        # W = A *_M B has O(W) = s·ÂB̂.
        return {layer: s * hat[f"{layer}_left"] @ hat[f"{layer}_right"] for layer in shapes}

    def scaled(params: Params, factors: Params) -> Params:
        changed = {
            leaf: params[leaf] * (factors[layer] ** (1 / len(parts[layer])))[:, None, None, None]
            for layer in factors
            for leaf in parts[layer]
        }
        return {**params, **changed}

    def mapped(params: Params, f: Callable[[Tensor], Tensor]) -> Params:
        if in_transform_domain:
            return {**params, **{layer: f(params[layer]) for layer in shapes}}
        return {**params, **{layer: unit.inverse(f(unit.forward(params[layer]))) for layer in shapes}}

    def draw(seeds: Sequence[int]) -> Params:
        params = {}
        for layer, (rows, columns) in shapes.items():
            sizes = [(rows, columns)] if rank is None else [(rows, rank), (rank, columns)]
            for leaf, size in zip(parts[layer], sizes, strict=True):
                drawn = _kaiming(seeds, leaf, (c, *size), fan_in=size[1] * c)
                params[leaf] = unit.forward(drawn) if in_transform_domain else drawn
        params["v"] = _kaiming(seeds, "v", (c, width), fan_in=c * width)
        if bias:
            params["b"] = _kaiming(seeds, "b", (1,), fan_in=c * width)
        factors = {layer: torch.full((len(seeds),), gain, dtype=torch.float64) for layer in shapes}
        if init == "norm_matched" and rank is not None:
            for layer, product in layers(hat(params)).items():
                whole = unit.inverse(product)
                factors[layer] *= math.sqrt(width / 3) / whole.flatten(1).norm(dim=1)
        return {name: leaf.to(task.x) for name, leaf in scaled(params, factors).items()}

    return TensorNetwork(
        init=draw,
        apply=lambda params, x: forward(hat(params), x),
        degree=None if bias else sum(map(len, parts.values())) + 1,
        transform=unit,
        scale=s,
        hat=hat,
        forward=forward,
        layers=layers,
        scaled=scaled,
        mapped=mapped if rank is None else None,
    )


def _kaiming(seeds: Sequence[int], rng_key: str, shape: tuple[int, ...], fan_in: int) -> Tensor:
    """Draw ``[M, *shape]`` uniform in ±1/√fan_in in float64: torch's default for convolutions and linear layers."""
    return torch.stack([2 * uniform(seed, rng_key, shape) - 1 for seed in seeds]) / math.sqrt(fan_in)
