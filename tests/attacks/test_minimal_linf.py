"""The ℓ∞ attack and certificate against linear programs over all activation patterns, closed forms and foolbox."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from src.attacks.halfspaces import nearest_point_linf
from src.attacks.minimal import minimal_attack
from src.measurements.certificate import certified_radius_linf
from tests.networks import KINDS, cluster_task, network, outputs, random_network, smallest_linf_flip


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attacked(params, x, y, starts=None, **options):
    starts = draw(1, 1, 40, x.shape[-1], seed=5) if starts is None else starts
    return minimal_attack(params, x, y, starts, norm="linf", **options)


@pytest.mark.parametrize(("width", "seed"), [(5, 106)])
def test_certificate_below_the_smallest_flip_and_attack_nearly_equal_to_it(width, seed):
    members, points = 2, 8
    params, x = random_network(members, width, 3, seed=seed), draw(members, points, 3)
    y = outputs(params, x).sign()
    truth = torch.tensor([
        [smallest_linf_flip(*(params[name][i] for name in "wbv"), x[i, j], y[i, j]) for j in range(points)]
        for i in range(members)
    ], dtype=torch.float64)  # fmt: skip
    assert (certified_radius_linf(params, x, y) <= truth * (1 + 1e-6)).all()
    exists = (y != 0) & truth.isfinite()
    assert exists.sum() > 5
    ratio = (attacked(params, x, y, keep=40).radius / truth)[exists]
    assert (ratio > 1 - 1e-4).all()  # the program needs a larger flip
    assert (ratio < 1 + 1e-5).float().mean() >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_certificate_below_attack_on_every_point_and_the_perturbation_flips(kind):
    task, params = cluster_task(), network(kind)
    x = task.x_test[:, :12]
    y = outputs(params, x).sign()
    attack = attacked(params, x, y, draw(1, 1, 2, x.shape[-1]).sign(), keep=2)
    assert (certified_radius_linf(params, x, y) <= attack.radius * (1 + 1e-6)).all()
    assert torch.equal(y * outputs(params, x + attack.delta) < 0, attack.success)
    found = attack.success
    assert found.any()
    torch.testing.assert_close(attack.delta.abs().amax(-1)[found], attack.radius[found])


def test_certificate_is_the_bound_of_its_formula():
    """e with ∫₀^e L = margin, against the sum over a fine grid, with L(e) from all vertices of the free neurons."""
    params, x = random_network(1, 6, 4, seed=2), draw(1, 8, 4, seed=2)
    y = outputs(params, x).sign()
    w, b, v = (params[name][0] for name in "wbv")
    a = v[:, None] * w
    radii = certified_radius_linf(params, x, y)[0]
    for point, radius, margin in zip(x[0], radii, (y * outputs(params, x))[0], strict=True):
        grid = radius * (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
        pre, reach = w @ point + b, w.abs().sum(-1) * grid[:, None]
        free = (pre.abs() <= reach).double()
        on = (pre > 0) * (1 - free)
        L = torch.maximum(on @ a + free @ a.relu(), -(on @ a) + free @ (-a).relu()).sum(-1)
        assert float(L.mean() * radius) == pytest.approx(float(margin), rel=1e-3)


def test_linear_function_is_certified_and_flipped_at_its_hyperplane():
    """relu(u·x) − relu(−u·x) = u·x, to be flipped at |u·x|/‖u‖₁."""
    u = torch.tensor([[3.0, -4.0, 0.0]], dtype=torch.float64)
    params = {"w": torch.stack([u, -u], 1), "b": torch.zeros(1, 2).double(), "v": torch.tensor([[1.0, -1.0]]).double()}
    x = draw(1, 8, 3, seed=2)
    product = (x @ u.mT).squeeze(-1)
    torch.testing.assert_close(certified_radius_linf(params, x, product.sign()), product.abs() / 7)
    torch.testing.assert_close(attacked(params, x, product.sign()).radius, product.abs() / 7, rtol=1e-7, atol=0)


def test_closed_form_of_feature_averaging_on_the_axes():
    """w₊ − w₋ = Σ y μ/d has the ℓ1 norm k/√d, so the radius at a mean is √d/k."""
    key = (("k", 8), ("d", 4096), ("n", 16), ("sigma", 0.0))
    facts, params = cluster_task(**dict(key)).facts, network("averaging", key)
    means, labels = facts["means"], facts["labels"]
    for radius in (certified_radius_linf(params, means, labels), attacked(params, means, labels).radius):
        torch.testing.assert_close(radius, torch.full_like(radius, 8.0), rtol=1e-7, atol=0)


def test_misclassified_points_and_constant_networks():
    params, x = random_network(1, 6, 3, seed=3), draw(1, 10, 3, seed=3)
    wrong = -outputs(params, x).sign()
    assert (certified_radius_linf(params, x, wrong) == 0).all() and (attacked(params, x, wrong).radius == 0).all()
    constant = {"w": torch.zeros(1, 2, 3).double(), "b": torch.ones(1, 2).double(), "v": torch.ones(1, 2).double()}
    for radius in (certified_radius_linf, lambda *given: attacked(*given).radius):
        assert radius(constant, x, torch.ones(1, 10).double()).isinf().all()


@pytest.mark.parametrize("seed", range(8))
def test_nearest_points_agree_with_the_dual_program(seed):
    """min t equals max h·u over u ≥ 0 with ‖Σ u_i g_i‖₁ ≤ 1."""
    rng = np.random.default_rng(seed)
    normals, offsets = rng.standard_normal((4, 6)), rng.random(4) + 0.1
    point = nearest_point_linf(normals, offsets)
    assert (normals @ point + offsets).max() <= 1e-8
    # |Σ u_i g_i| ≤ s, Σ s ≤ 1
    eye = np.eye(6)
    system = np.vstack([np.hstack([normals.T, -eye]), np.hstack([-normals.T, -eye]), [[0] * 4 + [1] * 6]])
    dual = linprog(-np.append(offsets, np.zeros(6)), system, np.append(np.zeros(12), 1.0))
    assert np.abs(point).max() == pytest.approx(-dual.fun, rel=1e-8)


def test_an_empty_intersection_has_no_nearest_point():
    g = np.array([[1.0, 2.0]])
    assert nearest_point_linf(np.vstack([g, -g]), np.array([1.0, 1.0])) is None
    assert nearest_point_linf(0 * g, np.array([1.0])) is None


@pytest.mark.filterwarnings("ignore")
def test_an_independent_attack_library_agrees():
    """Foolbox finds no flip in a certified ball, and none 1 % smaller than ours."""
    foolbox = pytest.importorskip("foolbox")
    params, x = random_network(1, 10, 5, seed=6), draw(1, 20, 5, seed=6)
    y = outputs(params, x).sign()
    ours, certificate = attacked(params, x, y).radius[0], certified_radius_linf(params, x, y)[0]

    class TwoLogits(torch.nn.Module):
        def forward(self, points):
            value = outputs(params, points[None])[0]
            return torch.stack([-value, value], -1)

    model = foolbox.PyTorchModel(TwoLogits().eval(), bounds=(-200, 200), device="cpu")
    attack, seen = foolbox.attacks.LinfPGD(steps=100), torch.zeros(20, dtype=torch.bool)
    radii = list(ours[ours.isfinite()].quantile(torch.tensor([0.3, 0.6, 0.9]).double()))
    for points, flipped in zip(*attack(model, x[0], (y[0] > 0).long(), epsilons=radii)[1:], strict=True):
        size = (points - x[0]).abs().amax(-1)
        flipped &= y[0] * outputs(params, points[None])[0] < 0
        assert (size >= certificate)[flipped].all() and (size >= 0.99 * ours)[flipped].all()
        seen |= flipped
    assert seen.double().mean() > 0.5
