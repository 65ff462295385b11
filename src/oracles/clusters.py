"""Closed forms for two-layer ReLU networks on noiseless clusters; derivations in docs/paper1.md.

Means are orthogonal with norm √d and labels balanced, unless stated otherwise; z = η·Σ_q y⁽q⁾μ⁽q⁾ is the universal
perturbation. The margin and the radius along z of the feature-averaging network, for any means, are facts of the
task (``src/data/clusters.py``).
"""

from __future__ import annotations

from math import erfc, sqrt

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from src.types import Params


def feature_averaging(means: Tensor, labels: Tensor, *, biases: bool = False) -> Params:
    """Return the network with one neuron per label and margin 1 at means ``[M, k, r]`` with labels ``[M, k]``.

    Each neuron is the smallest with response 1 to the means of its label and 0 to the others; (wⱼ, bⱼ) and vⱼ are
    balanced. Orthogonal means give w± ∝ Σ_{Q±} μ/d. With ``biases`` every mean has one more coordinate, equal to 1,
    for the bias. For balanced labels on orthogonal or equicorrelated means this is exactly a KKT point; the network
    without biases has a relative distance of √(k/d) to it.
    """
    points = torch.cat([means, torch.full_like(means[..., :1], float(biases))], -1)
    of_label = torch.stack([labels > 0, labels < 0], -1).to(means)
    # (w, b)± = Σ_q c_q (μ⁽q⁾, 1)  with  c = G⁻¹ 1_{Q±}
    neurons = torch.linalg.solve(points @ points.mT, of_label).mT @ points
    size = neurons.norm(dim=-1).sqrt()
    neurons = neurons / size[..., None]
    return {"w": neurons[..., :-1], "b": neurons[..., -1], "v": size * means.new_tensor([1.0, -1.0])}


def harmful_network(x: Tensor, y: Tensor, means: Tensor, labels: Tensor) -> Params:
    """Return minus feature averaging plus a spike for every training point ``x [M, n, r]``, ``y [M, n]`` (O10).

    It has n + 2 neurons, makes no error on these points, and errs on nearly all others. With ξ the part of a point that
    is orthogonal to all means ``[M, k, r]``, its spike is 2 at the point itself and 0 at others.
    """
    averaging = feature_averaging(means, labels)
    noise = x - x @ means.mT @ torch.linalg.solve(means @ means.mT, means)
    # wᵢ = 4ξᵢ/‖ξᵢ‖²,  bᵢ = −2,  vᵢ = yᵢ
    return {
        "w": torch.cat([averaging["w"], 4 * noise / noise.square().sum(-1, keepdim=True)], 1),
        "b": torch.cat([averaging["b"], torch.full_like(y, -2)], 1),
        "v": torch.cat([-averaging["v"].expand(len(means), -1), y], 1),
    }


def robust_margin(k: int) -> float:
    """Return the normalised margin of the balanced robust network of Theorem 4.1, up to O(1/d)."""
    return 1 / (2 * k)


def robust_zero_radius(d: int) -> float:
    """Return the distance from a mean at which the robust network of Theorem 4.1 first outputs 0."""
    return sqrt(d) / 2


def robust_flip_radius(d: int) -> float:
    """Return the distance from a mean at which the robust network flips: half that of two means, which is optimal."""
    return sqrt(d / 2)


def margin_gap(d: int, k: int) -> float:
    """Return the margin of feature averaging over that of the robust network; the implicit bias favours the larger."""
    return sqrt(d * k / 2)


def robustness_gap(k: int) -> float:
    """Return the flip radius of the robust network over that of feature averaging; 1 at k = 2."""
    return sqrt(k / 2)


def own_class_radius(d: int, clusters: int) -> float:
    """Return the norm along −Σ_{own class} μ at which feature averaging outputs 0, for the ``clusters`` of the class.

    A gradient attack finds this radius, as the neuron of the other label is off and has no gradient.
    """
    return sqrt(d / clusters)


def averaging_test_error(d: int, k: int, sigma: float, n: int) -> float:
    """Return the test error of averaging the n/k training points of each cluster: Q( √(d/k) / (σ√(1 + σ²k/n)) ).

    It is correct within a factor of 2 where it exceeds 1 % and every cluster has training points.
    """
    t = sqrt(d / k) / (sigma * sqrt(1 + sigma**2 * k / n))
    return erfc(t / sqrt(2)) / 2


def localised_margin(d: int, k: int, group: int = 1) -> float:
    """Return the normalised margin of one neuron without bias per ``group`` clusters; that of O1 at group = k/2."""
    return sqrt(d * group) / (2 * k)


def localised_attack_radius(d: int, k: int, group: int = 1) -> float:
    """Return the smallest perturbation of a mean for which one neuron without bias per ``group`` clusters gives 0.

    It subtracts from the means of the own group and adds to all opposite means.
    """
    return sqrt(d / (group + k / 2))


def localised_z_radius(d: int, k: int, group: int = 1) -> float:
    """Return the norm along z at which one neuron without bias per ``group`` clusters gives 0."""
    return sqrt(d * k) / (group + k / 2)


def spectral_margin(d: int, k: int) -> float:
    """Return the largest margin min q / max(‖W‖_sp, ‖v‖)² on the k balanced means, of any width, without biases.

    It is attained with enough neurons; it is √d·(1 + √(2/k))/2√2 if a regular Hadamard matrix of order k/2 exists, and
    at most that otherwise. Derived in docs/bridges.md, B1.
    """
    own = k // 2

    def dual(t: float) -> float:
        # (K − 1 + t)·max_s [s − s²(1 − 1/t)/K]: convex in t
        return (own - 1 + t) * max(s - s**2 * (1 - 1 / t) / own for s in range(1, own + 1))

    least = minimize_scalar(dual, bounds=(1, 2 * own), method="bounded", options={"xatol": 1e-12}).fun if own > 1 else 1
    return sqrt(d * least / 2) / own
