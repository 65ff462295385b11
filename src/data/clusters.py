"""The clustered distribution of Frei, Vardi, Bartlett & Srebro (2023): q ~ Unif[k], x ~ N(μ⁽q⁾, σ²I_d), y = y⁽q⁾.

The outputs of a network trained from an initialisation in the span of the data depend on that span only. So the
data can be drawn in orthonormal coordinates of span(means, training noise), of dimension r = k + n, with exactly
the law they have in R^d (``coordinates="reduced"``); the cost does not depend on d. There

- the means fill the first k coordinates: √d·e_q if orthogonal, else a square root of their Gram matrix,
- the training noise is σ[G | L], G ∈ R^{n×k} Gaussian and L the Bartlett factor of a Wishart_n(I, d − k) matrix,
- the noise of a test point, projected on the span, is N(0, σ²I_r).

This is exact for training that commutes with rotations (gradient flow, gradient descent; not Adam or sign descent).
In R^d, other training depends on the ``frame`` of the means as well: a random one, or the first coordinate axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, nan, sqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from src.constraints import Count, Fraction, NonNegative
from src.errors import ConfigError
from src.randomness import generator, normal, permutation
from src.types import Task


def build(
    seeds: Sequence[int],
    *,
    k: Count = 8,
    d: Count = 4096,
    n: Count = 128,
    n_test: Count = 1000,
    sigma: NonNegative = 0.1,
    means: Literal["orthogonal", "sphere", "equicorrelated"] = "orthogonal",
    rho: Fraction = 0.0,
    negative: int | None = None,
    stratified: bool = True,
    coordinates: Literal["reduced", "full"] = "reduced",
    frame: Literal["random", "axes"] = "random",
) -> Task:
    """Draw one data set per seed: ``x`` is ``[M, n, r]``, r = k + n (reduced) or d (full), and every ‖μ‖ = √d.

    Args:
        seeds: member i depends on ``seeds[i]`` only.
        k: number of clusters.
        d: dimension of the inputs.
        n: training points.
        n_test: test points.
        sigma: standard deviation of the noise per coordinate; means have norm √d.
        means: ``sphere``: independent and uniform on √d·S^{d−1}; ``equicorrelated``: every pair has cosine ``rho``.
        rho: cosine of two means.
        negative: number of clusters (the last ones) with the label −1; ``None`` is k // 2.
        stratified: equally many training points per cluster (to within one), else random clusters as in the test set.
        coordinates: ``reduced`` or ``full``: the same law at different cost, see the module.
        frame: of the means in full coordinates: within a ``random`` subspace, or in the first k coordinates (``axes``),
            where orthogonal means lie on the axes. Reduced coordinates are those of the span, in any frame.

    Returns:
        A task with the facts ``means [M, k, r]``, ``labels [M, k]`` (±1 of each cluster), ``cluster [M, n]`` and
        ``cluster_test [M, n_test]`` (the cluster of each point), ``sigma``, ``d``, ``k``, ``seeds [M]``, ``basis``
        (None: any orthonormal basis maps to R^d, see :func:`basis`), ``margin_oracle [M]`` (NaN for ``sphere``),
        ``radius_oracle [M]``, and the two sides of Assumption 2.2, ``assumption_left [M]`` and
        ``assumption_right [M]``.

    Raises:
        ConfigError: for incompatible keys.
    """
    negative = k // 2 if negative is None else negative
    _check(k, d, n, means, rho, negative, stratified, coordinates)

    noise = torch.stack([_noise(seed, n, k, d, coordinates) for seed in seeds])
    mu = torch.stack([_means(seed, k, d, means, rho) for seed in seeds])
    if coordinates == "full" and frame == "random":
        mu = torch.stack([to_full(each, basis(seed, d, k)) for seed, each in zip(seeds, mu, strict=True)])
    mu = pad(mu, (0, noise.shape[-1] - mu.shape[-1]))
    labels = torch.ones(len(seeds), k, dtype=torch.float64)
    labels[:, k - negative :] = -1
    cluster = torch.stack([_clusters(seed, n, k, stratified) for seed in seeds])
    left, right = assumption(mu, sigma, d)

    facts: dict[str, Any] = {
        "means": mu,
        "labels": labels,
        "cluster": cluster,
        "sigma": sigma,
        "d": d,
        "k": k,
        "seeds": torch.tensor(list(seeds)),
        "basis": None,
        "margin_oracle": averaging_margin(mu, labels) * (nan if means == "sphere" else 1),
        "radius_oracle": averaging_radius(mu, labels),
        "assumption_left": left,
        "assumption_right": right,
    }
    x = _of(mu, cluster) + sigma * noise
    x_test, y_test, facts["cluster_test"] = draw(facts, n_test, "test")
    return Task(x, labels.gather(1, cluster), x_test, y_test, facts)


def draw(facts: dict[str, Any], points: int, rng_key: str, *index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw fresh points of every member's distribution: ``x [M, P, r]``, ``y [M, P]``, ``cluster [M, P]``.

    In reduced coordinates the points are projected on the span of that member's training set. Equal
    ``(rng_key, *index)`` give equal points, different ones independent points.
    """
    mu = facts["means"]
    _, k, r = mu.shape
    seeds = facts["seeds"].tolist()
    cluster = torch.stack(
        [torch.randint(k, (points,), generator=generator(seed, f"{rng_key} cluster", *index)) for seed in seeds]
    ).to(mu.device)
    noise = torch.stack([normal(seed, f"{rng_key} noise", (points, r), *index) for seed in seeds]).to(mu)
    return _of(mu, cluster) + facts["sigma"] * noise, facts["labels"].gather(1, cluster), cluster


def assumption(mu: Tensor, sigma: float, d: int) -> tuple[Tensor, Tensor]:
    """Return both sides of Assumption 2.2 for means ``[M, k, r]``, each ``[M]``; it holds where left ≤ right.

    The constants are recalled from the paper, not checked against its text; no claim depends on them.
    """
    k = mu.shape[-2]
    gram = mu @ mu.mT
    coherence = (gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))).abs().amax((-2, -1))
    spread = 4 * sigma * sqrt(d) * log(d)
    # k·( max_{i≠j} |⟨μᵢ,μⱼ⟩| + 4σ√d·log d + 1 ) ≤ ( d − 4σ√d·log d + 1 ) / 10
    return k * (coherence + spread + 1), torch.full_like(coherence, (d - spread + 1) / 10)


def averaging_margin(mu: Tensor, labels: Tensor) -> Tensor:
    """Return the normalised margin min y·N/‖θ‖² ``[M]`` of the feature-averaging network (docs/paper1.md).

    Its two neurons are the smallest with response 1 to the means of their class and 0 to the others; with
    G = ⟨μᵢ,μⱼ⟩ their squared norms are 1₊ᵀG⁻¹1₊ and 1₋ᵀG⁻¹1₋. Orthogonal means give √d / 2(√k₊ + √k₋).
    """
    gram = mu @ mu.mT
    of_class = torch.stack([labels > 0, labels < 0], -1).to(mu)
    squared = (of_class * torch.linalg.solve(gram, of_class)).sum(-2)
    # γ = 1 / 2(‖w₊‖ + ‖w₋‖)
    return 1 / (2 * squared.sqrt().sum(-1))


def averaging_radius(mu: Tensor, labels: Tensor) -> Tensor:
    """Return ‖z‖ ``[M]`` of z = (1/k)·Σ_q y⁽q⁾μ⁽q⁾: the feature-averaging network has N(μ − y·z) = 0 at every mean.

    Orthogonal means give √(d/k) for any balance of the labels; equicorrelated ones, with balanced labels,
    √(d(1 − ρ)/k) (closed form, docs/paper1.md).
    """
    return torch.linalg.vector_norm((labels[..., None] * mu).mean(-2), dim=-1)


def basis(seed: int, d: int, r: int) -> Tensor:
    """Draw an orthonormal basis ``[d, r]`` of a random r-dimensional subspace of R^d, float64 on the CPU."""
    q, triangle = torch.linalg.qr(normal(seed, "basis", (d, r)))
    # With a positive diagonal of the triangular factor the law is invariant under rotations.
    return q * triangle.diagonal().sign()


def to_full(points: Tensor, basis: Tensor) -> Tensor:
    """Map reduced coordinates ``[..., r]`` to R^d ``[..., d]`` by a basis ``[d, r]``; inner products do not change."""
    return points @ basis.mT


def _check(k, d, n, means, rho, negative, stratified, coordinates) -> None:
    if k > d:
        raise ConfigError("data.k", k, f"must be <= data.d = {d}, as the means are linearly independent")
    if not 1 <= negative <= k - 1:
        key, value = ("data.k", k) if k == 1 else ("data.negative", negative)
        raise ConfigError(key, value, "each label needs a cluster: 1 <= data.negative <= data.k - 1")
    if coordinates == "reduced" and d < n + k:
        raise ConfigError("data.d", d, f"must be >= data.n + data.k = {n + k} with data.coordinates=reduced")
    if stratified and n < k:
        raise ConfigError("data.n", n, f"must be >= data.k = {k} with data.stratified=true")
    if not 0 <= rho < 1:
        raise ConfigError("data.rho", rho, "must be >= 0 and < 1")
    if rho and means != "equicorrelated":
        raise ConfigError("data.rho", rho, f"must be 0 with data.means={means}; it needs data.means=equicorrelated")


def _means(seed: int, k: int, d: int, kind: str, rho: float) -> Tensor:
    if kind == "sphere":
        factor = _bartlett(seed, "means", k, d)
        return sqrt(d) * factor / torch.linalg.vector_norm(factor, dim=-1, keepdim=True)
    # The symmetric square root of (1 − ρ)I + ρ11ᵀ is √(1−ρ)·I + (√(1−ρ+kρ) − √(1−ρ))/k·11ᵀ.
    apart, along = sqrt(1 - rho), sqrt(1 - rho + k * rho)
    return sqrt(d) * (apart * torch.eye(k, dtype=torch.float64) + (along - apart) / k)


def _noise(seed: int, n: int, k: int, d: int, coordinates: str) -> Tensor:
    if coordinates == "full":
        return normal(seed, "noise", (n, d))
    return torch.cat([normal(seed, "noise along means", (n, k)), _bartlett(seed, "noise", n, d - k)], -1)


def _bartlett(seed: int, rng_key: str, size: int, dof: int) -> Tensor:
    """Draw lower triangular L ``[size, size]`` with LLᵀ ~ Wishart(I, dof): ``size`` points of N(0, I_dof), rotated."""
    below = normal(seed, rng_key, (size, size)).tril(-1)
    # Lᵢᵢ² ~ χ²(dof − i); drawn directly, since a sum of dof squares is too costly at dof = 10⁹.
    chi2 = np.random.default_rng(generator(seed, f"{rng_key} lengths").initial_seed()).chisquare(dof - np.arange(size))
    return below + torch.from_numpy(np.sqrt(chi2)).diag()


def _clusters(seed: int, n: int, k: int, stratified: bool) -> Tensor:
    if stratified:
        return permutation(seed, "cluster", k)[torch.arange(n) % k]
    return torch.randint(k, (n,), generator=generator(seed, "cluster"))


def _of(mu: Tensor, cluster: Tensor) -> Tensor:
    return mu.gather(1, cluster[..., None].expand(*cluster.shape, mu.shape[-1]))
