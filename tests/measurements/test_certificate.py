import pytest
import torch

from src.attacks.minimal import minimal_attack
from src.attacks.ray import first_flip
from src.measurements.certificate import certified_radius
from tests.networks import KINDS, cluster_task, network, outputs, random_network, smallest_flip


@pytest.mark.parametrize("width", [1, 3, 6])
def test_never_above_the_smallest_flip(width):
    members, points = 4, 10
    params = random_network(members, width, 3, seed=10 + width)
    x = torch.randn(members, points, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = outputs(params, x).sign()
    certificate = certified_radius(params, x, y)
    for i in range(members):
        for j in range(points):
            truth = smallest_flip(*(params[name][i] for name in "wbv"), x[i, j], y[i, j])
            assert certificate[i, j] <= truth
    assert (certificate > 0)[y != 0].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_certificate_below_attack_below_every_ray(kind, sigma):
    task, params = cluster_task(sigma=sigma), network(kind, (("sigma", sigma),))
    x = task.x_test
    y = outputs(params, x).sign()
    rays = torch.randn(2, 100, 8, x.shape[-1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rays[:, :, 0] = -y[..., None] * (task.facts["labels"][..., None] * task.facts["means"]).sum(1)[:, None]
    certificate = certified_radius(params, x, y)
    attack = minimal_attack(params, x, y, rays).radius
    along = (first_flip(params, x, y, rays) * rays.norm(dim=-1)).amin(-1)
    assert (certificate <= attack).all()
    assert (attack <= along * (1 + 1e-9)).all()
    assert (certificate > 0)[y != 0].all()


@pytest.mark.parametrize("margin", [1e-6, 1e-9, 1e-12])
def test_never_above_the_attack_on_points_that_are_nearly_flipped(margin):
    """In other coordinates their margins differ by rounding that is large relative to them."""
    params, draw = random_network(1, 12, 6, seed=5), torch.Generator().manual_seed(6)
    x = torch.randn(1, 40, 6, generator=draw, dtype=torch.float64)
    directions = torch.randn(1, 40, 1, 6, generator=draw, dtype=torch.float64)
    y = outputs(params, x).sign()
    x = x + ((1 - margin) * first_flip(params, x, y, directions)[..., None] * directions).squeeze(2)
    near = x.isfinite().all(-1)
    x = torch.where(near[..., None], x, 0.0)
    certificate = certified_radius(params, x, y)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64)).Q
    turned = {**params, "w": params["w"] @ turn}
    attack = minimal_attack(turned, x @ turn, y, directions @ turn).radius
    assert near.sum() > 10 and (certificate <= attack * (1 + 1e-9))[near].all()


def test_is_the_bound_of_its_formula():
    """e with ∫₀^e L = margin, against the sum over a fine grid, with L(e) from its definition."""
    params = random_network(1, 9, 4, seed=2)
    x = torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = outputs(params, x).sign()
    w, b, v = (params[name][0] for name in "wbv")
    gram = (v[:, None] * w) @ (v[:, None] * w).mT
    radii = certified_radius(params, x, y)[0]
    for point, radius, margin in zip(x[0], radii, (y * outputs(params, x))[0], strict=True):
        grid = radius * (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
        pre, reach = w @ point + b, w.norm(dim=-1) * grid[:, None]
        free = (pre.abs() <= reach).double()
        on = (pre > 0) * (1 - free)
        squared = ((on @ gram) * on).sum(-1) + ((free @ gram.relu()) * (2 * on + free)).sum(-1)
        assert float(squared.sqrt().mean() * radius) == pytest.approx(float(margin), rel=1e-3)


def test_linear_function_is_certified_up_to_its_hyperplane():
    u = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    params = {"w": torch.stack([u, -u], 1), "b": torch.zeros(1, 2).double(), "v": torch.tensor([[1.0, -1.0]]).double()}
    x = torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    product = (x @ u.mT).squeeze(-1)
    torch.testing.assert_close(certified_radius(params, x, product.sign()), product.abs() / 5)


@pytest.mark.parametrize(
    ("kind", "radius"), [("averaging", (4096 / 8) ** 0.5), ("robust", 4096**0.5 / 2)], ids=["averaging", "robust"]
)
def test_closed_forms_at_the_means(kind, radius):
    """Feature averaging is certified up to its flip radius, the robust network up to its first output of 0."""
    key = (("k", 8), ("d", 4096), ("n", 16), ("sigma", 0.0))
    means, labels = (cluster_task(**dict(key)).facts[name] for name in ("means", "labels"))
    radii = certified_radius(network(kind, key), means, labels)
    torch.testing.assert_close(radii, torch.full_like(radii, radius), rtol=1e-9, atol=0)


def test_wrong_points_and_constant_networks():
    params = random_network(1, 5, 3, seed=4)
    x = torch.randn(1, 10, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert (certified_radius(params, x, -outputs(params, x).sign()) == 0).all()
    constant = {"w": torch.zeros(1, 2, 3).double(), "b": torch.ones(1, 2).double(), "v": torch.ones(1, 2).double()}
    assert certified_radius(constant, x, torch.ones(1, 10).double()).isinf().all()


def test_members_points_scale_and_splits_of_neurons_do_not_matter():
    task, params = cluster_task(), network("trained")
    x, y = task.x_test[:, :20], task.y_test[:, :20]
    base = certified_radius(params, x, y)
    one = certified_radius({name: leaf[1:] for name, leaf in params.items()}, x[1:, 4:5], y[1:, 4:5])
    torch.testing.assert_close(one[0, 0], base[1, 4], rtol=1e-10, atol=0)
    tiny = certified_radius({**params, "v": 1e-12 * params["v"]}, x, y)
    torch.testing.assert_close(tiny, base, rtol=1e-10, atol=0)
    twice = {name: torch.cat([leaf, leaf], 1) for name, leaf in params.items()}
    torch.testing.assert_close(certified_radius(twice, x, y), base, rtol=1e-10, atol=0)
