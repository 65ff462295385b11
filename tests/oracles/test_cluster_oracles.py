"""The closed forms, each against a network evaluated numerically."""

import math

import pytest
import torch

from src.data import clusters
from src.measurements.risk import norm
from src.models.two_layer_relu import balanced, forward, grouped_network, neurons, robust_network
from src.oracles import clusters as oracles

D = 4096


def means_and_labels(k: int = 8, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
    facts = clusters.build([0], k=k, d=D, n=k, n_test=1, **kwargs).facts
    return facts["means"], facts["labels"]


def margin(params, means, labels) -> float:
    return float((labels * forward(params, means)).amin() / norm(params) ** 2)


def first_radius(params, point, label, direction, beyond, at_most=None) -> float:
    """Return the smallest t at which ``beyond(y·N(x + t·direction/‖direction‖))``, by bisection."""
    unit = direction / direction.norm()
    low, high = 0.0, at_most or 2 * math.sqrt(D)
    value = lambda t: float(label * forward(params, (point + t * unit)[None])[0, 0])  # noqa: E731
    assert not beyond(value(low)) and beyond(value(high))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(value(middle)) else (middle, high)
    return high


def universal(means, labels) -> torch.Tensor:
    return (labels[0, :, None] * means[0]).sum(0)


@pytest.mark.parametrize(("k", "negative"), [(2, 1), (8, 4), (8, 1), (7, 3)])
def test_margin_and_radius_of_feature_averaging(k, negative):
    means, labels = means_and_labels(k, negative=negative)
    net = oracles.feature_averaging(means, labels)
    incoming, v = neurons(net)
    assert torch.allclose(incoming.norm(dim=-1), v.abs())
    assert torch.allclose(labels * forward(net, means), torch.ones_like(labels))
    # O1: γ = √d / 2(√k₊ + √k₋)
    closed = math.sqrt(D) / (2 * (math.sqrt(k - negative) + math.sqrt(negative)))
    assert margin(net, means, labels) == pytest.approx(closed)
    assert clusters.averaging_margin(means, labels).item() == pytest.approx(closed)
    # O2: z flips at √(d/k), whatever the balance, for both labels
    z = universal(means, labels)
    for q in (0, k - 1):
        y = labels[0, q]
        assert first_radius(net, means[0, q], y, -y * z, lambda f: f < 0) == pytest.approx(math.sqrt(D / k), rel=1e-9)
    assert clusters.averaging_radius(means, labels).item() == pytest.approx(math.sqrt(D / k))


@pytest.mark.parametrize("rho", [0.05, 0.2, 0.5])
def test_margin_and_radius_at_correlated_means(rho):
    means, labels = means_and_labels(8, means="equicorrelated", rho=rho)
    net = oracles.feature_averaging(means, labels)
    radius = first_radius(net, means[0, 0], 1, -universal(means, labels), lambda f: f < 0)
    assert radius == pytest.approx(math.sqrt(D * (1 - rho) / 8), rel=1e-9)  # O3
    assert clusters.averaging_radius(means, labels).item() == pytest.approx(radius, rel=1e-9)
    assert clusters.averaging_margin(means, labels).item() == pytest.approx(margin(net, means, labels))


def test_on_the_sphere_the_radius_holds_and_the_margin_is_nan():
    facts = clusters.build([0], k=8, d=D, n=8, n_test=1, means="sphere").facts
    assert facts["margin_oracle"].isnan()
    net = oracles.feature_averaging(facts["means"], facts["labels"])
    radius = first_radius(net, facts["means"][0, 0], 1, -universal(facts["means"], facts["labels"]), lambda f: f < 0)
    assert facts["radius_oracle"].item() == pytest.approx(radius, rel=1e-9)


def least_output(net, point, radius) -> float:
    """Return the smallest N on the sphere of ``radius`` around a point, by descent from 200 random starts."""
    unit = torch.randn(200, len(point), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in range(100):
        unit = (unit / unit.norm(dim=-1, keepdim=True)).requires_grad_()
        output = forward(net, point + radius * unit)[0]
        (grad,) = torch.autograd.grad(output.sum(), unit)
        unit = unit.detach() - 0.5 * 0.95**step * grad / grad.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    return output.min().item()


@pytest.mark.parametrize("group", [1, 2, 4])
def test_no_direction_flips_earlier_than_the_closed_form(group):
    """Groups of k/2 clusters are feature averaging."""
    net, radius = grouped_network(*means_and_labels(8), D, group), oracles.localised_attack_radius(D, 8, group)
    means = means_and_labels(8)[0]
    assert least_output(net, means[0, 0], 0.995 * radius) > 0
    assert least_output(net, means[0, 0], 1.005 * radius) < 0


@pytest.mark.parametrize("k", [2, 8])
def test_robust_network_of_the_theorem(k):
    means, labels = means_and_labels(k)
    net = robust_network(means, labels, D)
    assert margin(balanced(net), means, labels) == pytest.approx(oracles.robust_margin(k), rel=5 / D)
    # away from its own mean it falls to 0 at √d/2; towards an opposite mean it turns negative at √(d/2), not before
    x, towards = means[0, 0], means[0, -1] - means[0, 0]
    assert first_radius(net, x, 1, -x, lambda f: f <= 0) == pytest.approx(oracles.robust_zero_radius(D))
    flip = first_radius(net, x, 1, towards, lambda f: f < 0)
    assert flip == pytest.approx(oracles.robust_flip_radius(D))
    assert flip == pytest.approx(float(towards.norm()) / 2)
    z_flip = first_radius(oracles.feature_averaging(means, labels), x, 1, -universal(means, labels), lambda f: f < 0)
    assert flip / z_flip == pytest.approx(oracles.robustness_gap(k))


def test_margin_gap_is_the_ratio_of_the_margins():
    means, labels = means_and_labels(8)
    ratio = margin(oracles.feature_averaging(means, labels), means, labels)
    ratio /= margin(balanced(robust_network(means, labels, D)), means, labels)
    assert ratio == pytest.approx(oracles.margin_gap(D, 8), rel=5 / D)


def test_the_own_class_direction_has_a_larger_radius():
    means, labels = means_and_labels(8, negative=3)
    net = oracles.feature_averaging(means, labels)
    for own, q, y in ((5, 0, 1), (3, 7, -1)):
        push = -means[0][labels[0] == y].sum(0)
        radius = first_radius(net, means[0, q], y, push, lambda f: f <= 1e-12)
        assert radius == pytest.approx(oracles.own_class_radius(D, own), rel=1e-9)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_localised_network(group):
    k = 8
    means, labels = means_and_labels(k)
    net = balanced(grouped_network(means, labels, D, group))
    x, z = means[0, 0], universal(means, labels)
    assert margin(net, means, labels) == pytest.approx(oracles.localised_margin(D, k, group))
    z_flip = first_radius(net, x, 1, -z, lambda f: f < 0)
    assert z_flip == pytest.approx(oracles.localised_z_radius(D, k, group), rel=1e-9)
    least = -means[0, :group].sum(0) + means[0, labels[0] < 0].sum(0)
    attack = first_radius(net, x, 1, least, lambda f: f < 0)
    assert attack == pytest.approx(oracles.localised_attack_radius(D, k, group), rel=1e-9)


def test_groups_of_half_the_clusters_are_feature_averaging():
    closed = (
        clusters.averaging_margin(*means_and_labels(8)).item(),
        clusters.averaging_radius(*means_and_labels(8)).item(),
    )
    assert oracles.localised_margin(D, 8, 4) == pytest.approx(closed[0])
    assert oracles.localised_attack_radius(D, 8, 4) == pytest.approx(closed[1])
    assert oracles.localised_z_radius(D, 8, 4) == pytest.approx(closed[1])


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_negative_bias_enlarges_the_radius(group):
    """At the fraction β of the output at the mean, it acts k/2s times against the attack and once for it."""
    k, beta = 8, 0.01
    means, labels = means_and_labels(k)
    net = grouped_network(means, labels, D, group, bias=-2 * beta)
    least = -means[0, :group].sum(0) + means[0, labels[0] < 0].sum(0)
    closed = oracles.localised_attack_radius(D, k, group) * (1 + k / (2 * group) * beta) / (1 + beta)
    assert first_radius(net, means[0, 0], 1, least, lambda f: f < 0) == pytest.approx(closed, rel=1e-9)


@pytest.mark.parametrize(("sigma", "n"), [(8.0, 64), (8.0, 512), (12.0, 512)])
def test_test_error_of_averaging_the_training_points(sigma, n):
    k = 8
    task = clusters.build([0, 1, 2], k=k, d=D, n=n, n_test=2000, sigma=sigma)
    # the linear predictor Σ_q y_q x̄_q of class means, which feature averaging is beside the data
    mean = torch.stack([((task.facts["cluster"] == q)[..., None] * task.x).sum(1) * k / n for q in range(k)], 1)
    linear = (task.facts["labels"][..., None] * mean).sum(1, keepdim=True)
    error = ((task.x_test @ linear.mT).squeeze(-1) * task.y_test <= 0).double().mean()
    closed = oracles.averaging_test_error(D, k, sigma, n)
    assert 0.01 < closed < 0.2
    assert float(error) == pytest.approx(closed, rel=0.2)


def test_feature_averaging_with_biases_responds_as_without():
    means, labels = means_and_labels(8)
    net = oracles.feature_averaging(means, labels, biases=True)
    assert torch.allclose(labels * forward(net, means), torch.ones_like(labels))
    assert (net["b"] != 0).all()
    assert margin(net, means, labels) == pytest.approx(clusters.averaging_margin(means, labels).item(), rel=8 / D)
