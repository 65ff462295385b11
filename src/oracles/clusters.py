"""Closed forms for two-layer ReLU networks on noiseless clusters; derivations in docs/paper1.md.

Means are orthogonal with norm √d and labels balanced, unless said otherwise; z = η·Σ_q y⁽q⁾μ⁽q⁾ is the universal
perturbation. The margin and the radius along z of the feature-averaging network, for any means, are facts of the
data (``src/data/clusters.py``).
"""

from __future__ import annotations

from math import erfc, sqrt

import torch
from torch import Tensor

from src.types import Params


def feature_averaging(means: Tensor, labels: Tensor, *, biases: bool = False) -> Params:
    """One neuron per label and margin 1 at the means, for means ``[M, k, r]`` and labels ``[M, k]``.

    Each neuron is the smallest that responds with 1 to its own means and with 0 to the others; (wⱼ, bⱼ) and vⱼ are
    balanced. Orthogonal means give w± ∝ Σ_{Q±} μ/d. With ``biases`` the bias counts as one more coordinate, equal
    to 1, of every mean: for balanced labels on orthogonal or equicorrelated means this is exactly a KKT point, from
    which the network without biases is a relative √(k/d) away.
    """
    points = torch.cat([means, torch.full_like(means[..., :1], float(biases))], -1)
    own = torch.stack([labels > 0, labels < 0], -1).to(means)
    # (w, b)± = Σ_q c_q (μ⁽q⁾, 1)  with  c = G⁻¹ 1_{Q±}
    neurons = torch.linalg.solve(points @ points.mT, own).mT @ points
    size = neurons.norm(dim=-1).sqrt()
    neurons = neurons / size[..., None]
    return {"w": neurons[..., :-1], "b": neurons[..., -1], "v": size * means.new_tensor([1.0, -1.0])}


def localised(means: Tensor, labels: Tensor) -> Params:
    """One neuron per cluster without bias, wⱼ = μ⁽ʲ⁾/d and vⱼ = y⁽ʲ⁾: where training from the robust network passes."""
    d = means.square().sum(-1, keepdim=True)
    return {"w": means / d, "b": torch.zeros_like(labels), "v": labels.clone()}


def robust_margin(k: int) -> float:
    """Normalised margin of the balanced robust network of Theorem 4.1, up to O(1/d)."""
    return 1 / (2 * k)


def robust_zero_radius(d: int) -> float:
    """Distance from a mean at which the robust network of Theorem 4.1 first outputs 0."""
    return sqrt(d) / 2


def robust_flip_radius(d: int) -> float:
    """Distance from a mean at which it outputs the opposite sign: half the distance of two means, as far as can be."""
    return sqrt(d / 2)


def margin_gap(d: int, k: int) -> float:
    """Margin of feature averaging over margin of the robust network: why the implicit bias rejects the latter."""
    return sqrt(d * k / 2)


def robustness_gap(k: int) -> float:
    """Flip radius of the robust network over that of feature averaging; none at k = 2."""
    return sqrt(k / 2)


def own_class_radius(d: int, own: int) -> float:
    """Norm of the push along −Σ_{own class} μ at which feature averaging outputs 0, for ``own`` clusters in the class.

    It is what a local attack finds, blind to the neuron of the other label, which is switched off.
    """
    return sqrt(d / own)


def averaging_test_error(d: int, k: int, sigma: float, n: int) -> float:
    """Test error of averaging the n/k training points of each cluster: Q( √(d/k) / (σ√(1 + σ²k/n)) ).

    Within a factor of 2 where it exceeds 1 % and every cluster has been seen.
    """
    t = sqrt(d / k) / (sigma * sqrt(1 + sigma**2 * k / n))
    return erfc(t / sqrt(2)) / 2


def localised_attack_radius(d: int, k: int) -> float:
    """Least perturbation of a mean that takes :func:`localised` to 0: own mean less, all opposite means more."""
    return sqrt(d / (1 + k / 2))


def localised_z_radius(d: int, k: int) -> float:
    """Norm of the push along z that takes :func:`localised` to 0."""
    return sqrt(d * k) / (1 + k / 2)
