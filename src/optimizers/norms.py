"""Norms, their duals and steepest directions. Steepest descent in a norm is biased towards its largest margin.

A ``Norm`` is of one layer ``[M, ...]``; ``over_layers`` combines the norms of the layers into one of all parameters.
Then ‖θ‖ measures the weights, ‖g‖_* = max_{‖u‖≤1} ⟨u, g⟩ the gradient, and ``steepest(g)`` is the u that attains it.
All steepest directions are the ``lmo`` of the entries, the singular values, the rows or the layers.

A layer that is a vector ``[M, m]`` or a single row ``[M, 1, m]`` has one singular value, its ℓ2 norm. A t-layer
``[M, slices, D, d]`` has those of its block-diagonal matrix, i.e. of all slices together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.optimizers import polar
from src.optimizers.duality import conjugate, lmo, p_norm, safe_divisor
from src.optimizers.log_scaled import per_member
from src.types import Params


class Norm(NamedTuple):
    """A norm of one layer ``[M, ...]`` or of ``Params``. ``value`` and ``dual`` are ``[M]``.

    ``steepest(g)`` is u with ‖u‖ = 1 and ⟨u, g⟩ = ‖g‖_*, zero where g does not determine it (and for g = 0).
    """

    value: Callable[[Any], Tensor]
    dual: Callable[[Any], Tensor]
    steepest: Callable[[Any], Any]


def entrywise(p: float) -> Norm:
    """Return ℓp of all entries: (Σ |w_ij|^p)^{1/p}."""

    def steepest(layer: Tensor) -> Tensor:
        if p == math.inf:
            return layer.sign()
        flat = layer.flatten(1)
        if p == 2:
            return layer / per_member(safe_divisor(p_norm(flat, 2)), layer)
        return (flat.sign() * lmo(flat.abs(), p)).reshape(layer.shape)

    return Norm(lambda w: p_norm(w.flatten(1), p), lambda g: p_norm(g.flatten(1), conjugate(p)), steepest)


Sigma = Callable[[Tensor], Tensor]
"""``layer [M, ...] -> its singular values [M, K]``."""


def singular_values(layer: Tensor) -> Tensor:
    """Return the singular values of a layer ``[M, K]``, computed in float64."""
    return polar.singular_values(_as_matrix(layer)).to(layer.dtype).flatten(1)


def memoize(sigma: Sigma = singular_values) -> Sigma:
    """Return ``sigma`` with a cache, as many norms of one network need the same singular values.

    The cache keeps its arguments alive, so use it for one measurement only.
    """
    cache: dict[int, tuple[Tensor, Tensor]] = {}

    def cached(layer: Tensor) -> Tensor:
        if id(layer) not in cache:
            cache[id(layer)] = layer, sigma(layer)
        return cache[id(layer)][1]

    return cached


def schatten(p: float, polar_factor: Callable[[Tensor], Tensor] = polar.exact, sigma: Sigma = singular_values) -> Norm:
    """Return ℓp of the singular values: p = ∞ is the spectral norm with the nuclear norm as its dual, p = 2 is ℓ2."""

    def steepest(layer: Tensor) -> Tensor:
        matrix = _as_matrix(layer)
        if p == math.inf:
            return polar_factor(matrix).reshape(layer.shape)
        u, s, vt = polar.svd(matrix)
        return ((u * lmo(s.flatten(1), p).view_as(s).unsqueeze(-2)) @ vt).to(layer.dtype).reshape(layer.shape)

    return Norm(lambda w: p_norm(sigma(w), p), lambda g: p_norm(sigma(g), conjugate(p)), steepest)


def rows(p: float = math.inf) -> Norm:
    """Return the (2, p) norm: ℓp of the ℓ2 norms of the rows, one row for each neuron; a vector is one row."""

    def lengths(layer: Tensor) -> Tensor:
        return p_norm(_as_matrix(layer), 2).flatten(1)

    def steepest(layer: Tensor) -> Tensor:
        length = lengths(layer)
        scale = (lmo(length, p) / safe_divisor(length)).view(layer.shape[:-1] if layer.ndim > 2 else (-1, 1))
        return (scale.unsqueeze(-1) * _as_matrix(layer)).reshape(layer.shape)

    return Norm(lambda w: p_norm(lengths(w), p), lambda g: p_norm(lengths(g), conjugate(p)), steepest)


def weighted(norm: Norm, weight: float | Callable[[Tensor], float]) -> Norm:
    """Return c·‖W‖; the weight c may depend on the shape of the layer."""

    def c(layer: Tensor) -> float:
        return weight(layer) if callable(weight) else weight

    return Norm(lambda w: c(w) * norm.value(w), lambda g: norm.dual(g) / c(g), lambda g: norm.steepest(g) / c(g))


def over_layers(p: float, hidden: Norm, last: Norm | None = None) -> Norm:
    """Return ℓp of the norms of the layers: ``last`` (or ``hidden``) for the last layer, ``hidden`` for the others."""

    def pairs(params: Params) -> list[tuple[Norm, Tensor]]:
        norms = [hidden] * (len(params) - 1) + [last or hidden]
        return list(zip(norms, params.values(), strict=True))

    def steepest(grads: Params) -> Params:
        directions = [norm.steepest(layer) for norm, layer in pairs(grads)]
        if p < math.inf:
            duals = torch.stack([norm.dual(layer) for norm, layer in pairs(grads)], dim=-1)
            weights = lmo(duals, p).unbind(-1)
            directions = [per_member(weight, u) * u for weight, u in zip(weights, directions, strict=True)]
        return dict(zip(grads, directions, strict=True))

    return Norm(
        lambda params: p_norm(torch.stack([n.value(w) for n, w in pairs(params)], -1), p),
        lambda grads: p_norm(torch.stack([n.dual(g) for n, g in pairs(grads)], -1), conjugate(p)),
        steepest,
    )


def lp(p: float) -> Norm:
    """Return ℓp of all parameters."""
    return over_layers(p, entrywise(p))


def l2() -> Norm:
    """Return ‖θ‖₂, the norm of NGD and NMD: equal to ``lp(2)``, but g/‖g‖₂ is computed without weights of layers."""

    def length(params: Params) -> Tensor:
        return p_norm(torch.stack([p_norm(leaf.flatten(1), 2) for leaf in params.values()], -1), 2)

    def steepest(grads: Params) -> Params:
        scale = safe_divisor(length(grads))
        return {name: leaf / per_member(scale, leaf) for name, leaf in grads.items()}

    return Norm(length, length, steepest)


def linf() -> Norm:
    """Return ‖θ‖_∞, dual ℓ1: the norm of SignGD, Signum and Adam."""
    return lp(math.inf)


def schatten_p(p: float, sigma: Sigma = singular_values) -> Norm:
    """Return the Schatten-p norm of the block-diagonal matrix of all layers: p = 2 is ℓ2, p = ∞ is msp."""
    return over_layers(p, schatten(p, sigma=sigma))


def msp(polar_factor: Callable[[Tensor], Tensor] = polar.exact, sigma: Sigma = singular_values) -> Norm:
    """Return max_k ‖W_k‖_sp, dual Σ_k ‖G_k‖_nuc: the norm of Muon."""
    return over_layers(math.inf, schatten(math.inf, polar_factor, sigma))


def hybrid(ratio: float, sigma: Sigma = singular_values) -> Norm:
    """Return max{r·msp(W), ‖u‖_∞} with u the last layer, dual Σ_k ‖G_k‖_nuc / r + ‖g_u‖₁: Muon-Signum, Muon-Adam."""
    return over_layers(math.inf, weighted(schatten(math.inf, sigma=sigma), ratio), entrywise(math.inf))


def row_max() -> Norm:
    """Return the largest ℓ2 norm of a row of any layer, dual Σ of the ℓ2 norms of the rows."""
    return over_layers(math.inf, rows())


def norm_from_name(name: str, *, p: float = 2.0, ratio: float = 1.0, sigma: Sigma = singular_values) -> Norm:
    """Return the norm of all parameters named ``l2``, ``linf``, ``msp``, ``hyb``, ``rows``, ``lp`` or ``schatten``."""
    makers: dict[str, Callable[[], Norm]] = {
        "l2": l2,
        "linf": linf,
        "msp": partial(msp, sigma=sigma),
        "rows": row_max,
        "hyb": partial(hybrid, ratio, sigma),
        "lp": partial(lp, p),
        "schatten": partial(schatten_p, p, sigma),
    }
    return makers[name]()


def _as_matrix(layer: Tensor) -> Tensor:
    """Return a vector ``[M, m]`` as a matrix of one row, and matrices as they are."""
    return layer if layer.ndim > 2 else layer.unsqueeze(1)
