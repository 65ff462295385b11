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
"""Inputs over which the teacher's mean output is 0."""
SPARE = 4
"""Inputs drawn for each that should be left: classes are not equally likely."""


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
    """y = sign g(x) of a teacher g(x) = wᵀ vec σ(W^L *_M … σ(W¹ *_M x)) without bias, all its layers of F-norm 1.

    Inputs are uniform on the unit sphere, but for the share ``dropped`` of each class with the smallest |g(x)|, so that
    the teacher has a margin; both classes are equally large. w is random but for the mean output, which is 0.
    Everything of member i comes from ``seeds[i]``.

    Args:
        seeds: of the members.
        d: rows of an input.
        c: its columns, the length of a tube.
        n: training examples; ``x`` is ``[M, n, d, c]``.
        n_test: test examples of the same law.
        depth: t-layers of the teacher.
        width: their rows.
        rank: their tubal rank.
        dropped: share of the inputs that is left out.
        transform: O; the teacher has M = O.

    Returns:
        A task with the facts ``teacher_margin`` ``[M]``, min_i y_i g(x_i) over the training set, and
        ``teacher_ratio`` ``[M]``, the harmonic mean of ‖W^l‖_F/‖W^l‖_sp over the teacher's t-layers.

    Raises:
        ConfigError: for a rank that its layers cannot have.
    """
    if rank > min(d, width):
        raise ConfigError("data.rank", rank, f"must be <= {min(d, width)}, the smallest side of a layer")
    m = transforms.transform(transform, c)
    layers = [_layer(seeds, place, (c, width, d if place == 0 else width), rank, m) for place in range(depth)]

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


def _layer(seeds: Sequence[int], place: int, shape: tuple[int, ...], rank: int, m: transforms.Transform) -> Tensor:
    """Ŵ ``[M, slices, width, d]`` of one layer, of F-norm 1 and tubal rank ``rank``."""
    drawn = torch.stack([normal(seed, "teacher layer", shape, place) for seed in seeds])
    hat = truncated(m.forward(drawn), rank)
    return hat / spectra.frobenius(hat, m.multiplicity).reshape(-1, 1, 1, 1)


def _kept(g: Tensor, count: int, dropped: float) -> Tensor:
    """Half of ``count`` inputs from each class: the first of those that are left when ``dropped`` of it is left out."""
    halves = []
    for sign, half in ((1, count // 2), (-1, count - count // 2)):
        own = torch.nonzero(sign * g > 0).squeeze(1)
        least = torch.quantile(g[own].abs(), dropped) if len(own) else 0.0
        own = own[g[own].abs() >= least][:half]
        if len(own) < half:
            raise ConfigError("data.n", count, "this teacher gives too few inputs to one class; take another seed")
        halves.append(own)
    return torch.cat(halves)


def _unit(tensor: Tensor, axes: int = 1) -> Tensor:
    """The tensor with its last ``axes`` scaled to ℓ2 norm 1."""
    return tensor / torch.linalg.vector_norm(tensor, dim=tuple(range(-axes, 0)), keepdim=True)


def _sign(g: Tensor) -> Tensor:
    return torch.where(g >= 0, 1.0, -1.0).double()
