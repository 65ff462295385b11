import pytest
import torch

from src.attacks.minimal import minimal_attack
from src.oracles import clusters as oracle
from tests.networks import cluster_task, network, outputs, random_network, smallest_flip


def random_starts(count, r, seed=5):
    return torch.randn(1, 1, count, r, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def between_means(task):
    """From every mean to every other one, as directions for points at the means."""
    means = task.facts["means"]
    return means[:, None] - means[:, :, None]


@pytest.mark.parametrize("width", [4, 6, 8])
def test_finds_the_truth_of_small_networks(width):
    """Never below the smallest flip that exists, and on nearly all points exactly there."""
    members, points = 3, 8
    params = random_network(members, width, 3, seed=width)
    x = torch.randn(members, points, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = outputs(params, x).sign()
    truth = torch.tensor([
        [smallest_flip(*(params[name][i] for name in "wbv"), x[i, j], y[i, j]) for j in range(points)]
        for i in range(members)
    ])  # fmt: skip
    found = minimal_attack(params, x, y, random_starts(20, 3), keep=20)
    ratio = (found.radius / truth)[(y != 0) & truth.isfinite()]
    assert len(ratio) > 10
    assert (ratio > 1 - 1e-7).all()
    assert (ratio < 1 + 1e-6).float().mean() >= 0.95
    assert found.radius[(y != 0) & truth.isinf()].isinf().all()


@pytest.mark.parametrize("kind", ["averaging", "robust", "random", "trained"])
def test_the_flip_is_where_it_says(kind):
    task, params = cluster_task(), network(kind)
    x, y = task.x_test, outputs(params, task.x_test).sign()
    found = minimal_attack(params, x, y, random_starts(3, x.shape[-1]))
    assert found.success.float().mean() > 0.9
    flipped = y * outputs(params, x + found.delta) < 0
    assert torch.equal(flipped, found.success)
    torch.testing.assert_close(found.delta.norm(dim=-1)[flipped], found.radius[flipped])


@pytest.mark.parametrize(
    ("kind", "radius"),
    [
        ("averaging", lambda d, k: (d / k) ** 0.5),
        ("robust", lambda d, k: oracle.robust_flip_radius(d)),
        ("localised", oracle.localised_attack_radius),
    ],
)
def test_closed_forms_at_the_means(kind, radius):
    task = cluster_task(k=8, d=4096, n=16, sigma=0.0)
    params = network(kind, (("k", 8), ("d", 4096), ("n", 16), ("sigma", 0.0)))
    found = minimal_attack(params, task.facts["means"], task.facts["labels"], between_means(task))
    expected = torch.full_like(found.radius, radius(4096, 8))
    torch.testing.assert_close(found.radius, expected, rtol=1e-7, atol=0)


def test_linear_function_with_a_kink_everywhere():
    """relu(u·x) − relu(−u·x) = u·x, to be flipped at |u·x|/‖u‖."""
    u = torch.tensor([[3.0, -4.0, 0.0]], dtype=torch.float64)
    params = {"w": torch.stack([u, -u], 1), "b": torch.zeros(1, 2).double(), "v": torch.tensor([[1.0, -1.0]]).double()}
    x = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    product = (x @ u.mT).squeeze(-1)
    found = minimal_attack(params, x, product.sign(), torch.ones(1, 1, 1, 3).double())
    torch.testing.assert_close(found.radius, product.abs() / 5, rtol=1e-7, atol=0)


def test_members_and_points_do_not_see_each_other():
    task, params = cluster_task(), network("trained")
    x, y, starts = task.x_test[:, :10], task.y_test[:, :10], random_starts(3, task.x.shape[-1])
    together = minimal_attack(params, x, y, starts)
    for m in range(2):
        alone = {name: leaf[m : m + 1] for name, leaf in params.items()}
        for p in range(10):
            one = minimal_attack(alone, x[m : m + 1, p : p + 1], y[m : m + 1, p : p + 1], starts)
            torch.testing.assert_close(one.radius[0, 0], together.radius[m, p], rtol=1e-8, atol=0)


def test_turning_the_space_or_the_labels_changes_no_radius():
    task, params = cluster_task(), network("trained")
    x, y, starts = task.x_test[:, :30], task.y_test[:, :30], random_starts(3, task.x.shape[-1])
    turn = torch.linalg.qr(random_starts(x.shape[-1], x.shape[-1], seed=9)[0, 0]).Q
    base = minimal_attack(params, x, y, starts)
    turned = minimal_attack({**params, "w": params["w"] @ turn}, x @ turn, y, starts @ turn)
    torch.testing.assert_close(turned.radius, base.radius, rtol=1e-7, atol=0)
    torch.testing.assert_close(turned.delta, base.delta @ turn, rtol=1e-4, atol=1e-6)
    opposite = minimal_attack({**params, "v": -params["v"]}, x, -y, starts)
    torch.testing.assert_close(opposite.radius, base.radius, rtol=1e-8, atol=0)


def test_a_wrong_point_needs_no_push_and_a_constant_sign_cannot_be_flipped():
    params = random_network(1, 6, 3, seed=3)
    x = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert (minimal_attack(params, x, -outputs(params, x).sign(), random_starts(2, 3)).radius == 0).all()
    positive = {**params, "v": params["v"].abs(), "b": params["b"].abs() + 5}
    found = minimal_attack(positive, x, torch.ones(1, 20).double(), random_starts(2, 3))
    assert found.radius.isinf().all() and not found.success.any() and (found.delta == 0).all()
