"""Inputs labelled by a teacher: a t-NN whose t-layers have a known tubal rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from src.constraints import Count, Fraction
from src.errors import ConfigError
from src.randomness import normal
from src.tensors import spectra, transforms
from src.tensors.products import truncated
from src.types import Task

SAMPLE = 2000
"""Number of inputs over which the teacher's mean output is 0."""
SPARE = 4
"""Inputs drawn for each one that is kept, as the classes are not equally likely."""


def build(
    seeds: Sequence[int],
    *,
    d: Count = 6,
    c: Count = 4,
    n: Count = 40,
    n_test: Count = 1000,
    depth: Count = 1,
    width: Count = 6,
    rank: Count = 1,
    dropped: Fraction = 0.5,
    transform: transforms.Name = "dct",
) -> Task:
    """Draw y = sign g(x) of a teacher g(x) = wᵀ vec σ(W^L *_M … σ(W¹ *_M x)) without bias, all layers of F-norm 1.

    Inputs are uniform on the unit sphere. The fraction ``dropped`` of each class with the smallest |g(x)| is discarded,
    so that the teacher has a margin; both classes have the same size. w is random, conditioned on a mean output of 0.

    Args:
        seeds: member i depends on ``seeds[i]`` only.
        d: rows of an input.
        c: columns of an input, the length of a tube.
        n: training examples; ``x`` is ``[M, n, d, c]``.
        n_test: test examples of the same law.
        depth: number of t-layers of the teacher.
        width: rows of the t-layers.
        rank: tubal rank of the t-layers.
        dropped: fraction of the inputs that is discarded.
        transform: O; the teacher has M = O.

    Returns:
        A task with the facts ``teacher_margin`` ``[M]``, min_i y_i g(x_i) over the training set, and
        ``teacher_ratio`` ``[M]``, the harmonic mean of ‖W^l‖_F/‖W^l‖_sp over the teacher's t-layers.

    Raises:
        ConfigError: for a rank above the smallest side of a layer.
    """
    if rank > min(d, width):
        raise ConfigError("data.rank", rank, f"must be <= {min(d, width)}, the smallest side of a layer")
    m = transforms.transform(transform, c)
    layers = [_layer(seeds, index, (c, width, d if index == 0 else width), rank, m) for index in range(depth)]

    def inputs(rng_key: str, count: int) -> Tensor:
        return _unit(torch.stack([normal(seed, rng_key, (count, d, c)) for seed in seeds]), axes=2)

    def features(x: Tensor) -> Tensor:
        h = x.transpose(-1, -3)  # slices first: [M, c, d, N]
        for hat in layers:
            h = m.inverse(hat @ m.forward(h)).relu()
        return h.flatten(1, 2)

    w = torch.stack([normal(seed, "teacher w", (c * width,)) for seed in seeds])
    mean = _unit(features(inputs("teacher mean", SAMPLE)).mean(-1))
    w = _unit(w - (w * mean).sum(1, keepdim=True) * mean)

    def draw(rng_key: str, count: int) -> tuple[Tensor, Tensor]:
        x = inputs(rng_key, math.ceil(SPARE * count / (1 - dropped)))
        g = (w.unsqueeze(1) @ features(x)).squeeze(1)
        kept = torch.stack([_kept(row, count, dropped) for row in g])
        return x[torch.arange(len(x)).unsqueeze(1), kept], g.gather(1, kept)

    (x, g), (x_test, g_test) = draw("train", n), draw("test", n_test)
    rho = torch.stack([spectra.spectral(spectra.singular_values(hat)) for hat in layers])  # ‖W^l‖_F = 1
    facts = {"teacher_margin": g.abs().amin(1), "teacher_ratio": len(rho) / rho.sum(0)}
    return Task(x, _sign(g), x_test, _sign(g_test), facts)


def _layer(seeds: Sequence[int], index: int, shape: tuple[int, ...], rank: int, m: transforms.Transform) -> Tensor:
    """Draw Ŵ ``[M, slices, width, d]`` of one layer, of F-norm 1 and tubal rank ``rank``."""
    drawn = torch.stack([normal(seed, "teacher layer", shape, index) for seed in seeds])
    hat = truncated(m.forward(drawn), rank)
    return hat / spectra.frobenius(hat, m.multiplicity).reshape(-1, 1, 1, 1)


def _kept(g: Tensor, count: int, dropped: float) -> Tensor:
    """Return indices of ``count`` inputs, half of each class: the first with |g| above its quantile ``dropped``."""
    halves = []
    for sign, half in ((1, count // 2), (-1, count - count // 2)):
        of_class = torch.nonzero(sign * g > 0).squeeze(1)
        least = torch.quantile(g[of_class].abs(), dropped) if len(of_class) else 0.0
        of_class = of_class[g[of_class].abs() >= least][:half]
        if len(of_class) < half:
            raise ConfigError("data.n", count, "this teacher has too few inputs of one class; use another seed")
        halves.append(of_class)
    return torch.cat(halves)


def _unit(tensor: Tensor, axes: int = 1) -> Tensor:
    """Scale the last ``axes`` of a tensor to ℓ2 norm 1."""
    return tensor / torch.linalg.vector_norm(tensor, dim=tuple(range(-axes, 0)), keepdim=True)


def _sign(g: Tensor) -> Tensor:
    return torch.where(g >= 0, 1.0, -1.0).double()
