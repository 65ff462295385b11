import pytest
import torch

from src.attacks import minimal
from src.attacks.halfspaces import add_constraint
from src.attacks.minimal import minimal_attack
from src.oracles import clusters as oracle
from tests.networks import cluster_task, network, outputs, random_network, smallest_flip


def random_starts(count, r, seed=5):
    return torch.randn(1, 1, count, r, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def between_means(task):
    """Return the directions from every mean to every other one."""
    means = task.facts["means"]
    return means[:, None] - means[:, :, None]


def rotation(r, seed):
    """Draw a rotation of R^r, which changes results by rounding only; the identity for seed 0."""
    draw = random_starts(r, r, seed)[0, 0]
    return torch.linalg.qr(draw).Q if seed else torch.eye(r, dtype=torch.float64)


# Network 8 has flips only at the tip of a thin cone, 54 to 57 away; so has network 106, at 1 to 3.
@pytest.mark.parametrize(("width", "seed"), [(4, 4), (8, 8), (6, 106)])
def test_finds_the_smallest_flips_of_small_networks(width, seed):
    """Every flip is attack, none is below the true smallest one, and nearly all are equal to it."""
    members, points = 3, 8
    params = random_network(members, width, 3, seed=seed)
    x = torch.randn(members, points, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = outputs(params, x).sign()
    truth = torch.tensor([
        [smallest_flip(*(params[name][i] for name in "wbv"), x[i, j], y[i, j]) for j in range(points)]
        for i in range(members)
    ], dtype=torch.float64)  # fmt: skip
    exists = (y != 0) & truth.isfinite()
    assert exists.sum() > 10
    for turn in (rotation(3, attempt) for attempt in range(3)):
        rotated = {**params, "w": params["w"] @ turn}
        attack = minimal_attack(rotated, x @ turn, y, random_starts(20, 3) @ turn, keep=20)
        ratio = (attack.radius / truth)[exists]
        assert ratio.isfinite().all()
        assert (ratio > 1 - 1e-7).all()
        assert (ratio < 1 + 1e-6).float().mean() >= 0.95
        assert attack.radius[(y != 0) & truth.isinf()].isinf().all()


@pytest.mark.parametrize("noise", [1e-16, 1e-14, 1e-12])
def test_noise_of_the_size_of_rounding_changes_no_radius(noise):
    params = random_network(3, 8, 3, seed=8)
    x = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = outputs(params, x).sign()
    base = minimal_attack(params, x, y, random_starts(20, 3), keep=20).radius
    assert base[0].isfinite().sum() >= 4
    for seed in range(2):
        draw = torch.Generator().manual_seed(seed)
        noisy = {
            name: leaf * (1 + noise * torch.randn(leaf.shape, generator=draw, dtype=torch.float64))
            for name, leaf in params.items()
        }
        radius = minimal_attack(noisy, x, y, random_starts(20, 3), keep=20).radius
        torch.testing.assert_close(radius, base, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_no_scale_changes_which_flips_are_found(scale):
    """Scales of the output, of the hidden neurons, and of the inputs, which are the unit of a radius."""
    params = random_network(3, 8, 3, seed=8)
    x = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, starts = outputs(params, x).sign(), random_starts(20, 3)
    base = minimal_attack(params, x, y, starts, keep=20).radius
    larger = {"w": params["w"], "b": scale * params["b"], "v": params["v"]}
    for network_, unit in (
        ({**params, "v": scale * params["v"]}, 1.0),
        ({**params, "w": scale * params["w"], "b": scale * params["b"]}, 1.0),
        (larger, scale),
    ):
        radius = minimal_attack(network_, unit * x, y, starts, keep=20).radius
        torch.testing.assert_close(radius, unit * base, rtol=1e-6, atol=0)


@pytest.mark.parametrize("failing", ["not found", "wrong"])
def test_the_robust_solver_replaces_solutions_without_a_proof(monkeypatch, failing):
    """The fast solver is patched to fail, as by rounding."""
    params = random_network(2, 8, 3, seed=6)
    x = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = outputs(params, x).sign()
    base = minimal_attack(params, x, y, random_starts(10, 3))

    def failing_solver(active, normal, offset):
        active, solved = add_constraint(active, normal, offset)
        if failing == "not found":
            return active._replace(multiplier=torch.zeros_like(active.multiplier)), torch.zeros_like(solved)
        return active._replace(multiplier=1.01 * active.multiplier), solved

    monkeypatch.setattr(minimal, "add_constraint", failing_solver)
    radius = minimal_attack(params, x, y, random_starts(10, 3)).radius
    torch.testing.assert_close(radius, base.radius, rtol=1e-6, atol=0)


@pytest.mark.parametrize("attempt", range(1, 9))
def test_slopes_that_cancel_up_to_rounding_flip_no_point(attempt):
    """relu(u·x + 2) − relu(u·x + 1) is never negative; after a rotation and its inverse the slope is about ±1e-17."""
    u, turn = torch.tensor([[0.3, -1.1, 0.7]], dtype=torch.float64), rotation(3, attempt)
    params = {
        "w": torch.stack([u, u @ turn @ turn.mT], 1),
        "b": torch.tensor([[2.0, 1.0]], dtype=torch.float64),
        "v": torch.tensor([[1.0, -1.0]], dtype=torch.float64),
    }
    x = random_starts(10, 3)[0]
    right = outputs(params, x) > 0
    radius = minimal_attack(params, x, torch.ones(1, 10).double(), random_starts(6, 3)).radius
    assert right.sum() > 3 and radius[right].isinf().all()


@pytest.mark.parametrize("kind", ["averaging", "robust", "random", "trained"])
def test_the_returned_perturbation_flips(kind):
    task, params = cluster_task(), network(kind)
    x, y = task.x_test, outputs(params, task.x_test).sign()
    attack = minimal_attack(params, x, y, random_starts(3, x.shape[-1]))
    assert attack.success.float().mean() > 0.9
    flipped = y * outputs(params, x + attack.delta) < 0
    assert torch.equal(flipped, attack.success)
    torch.testing.assert_close(attack.delta.norm(dim=-1)[flipped], attack.radius[flipped])


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
    attack = minimal_attack(params, task.facts["means"], task.facts["labels"], between_means(task))
    expected = torch.full_like(attack.radius, radius(4096, 8))
    torch.testing.assert_close(attack.radius, expected, rtol=1e-7, atol=0)


def test_linear_function_with_a_kink_everywhere():
    """relu(u·x) − relu(−u·x) = u·x, to be flipped at |u·x|/‖u‖."""
    u = torch.tensor([[3.0, -4.0, 0.0]], dtype=torch.float64)
    params = {"w": torch.stack([u, -u], 1), "b": torch.zeros(1, 2).double(), "v": torch.tensor([[1.0, -1.0]]).double()}
    x = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    product = (x @ u.mT).squeeze(-1)
    attack = minimal_attack(params, x, product.sign(), torch.ones(1, 1, 1, 3).double())
    torch.testing.assert_close(attack.radius, product.abs() / 5, rtol=1e-7, atol=0)


def test_members_and_points_are_independent():
    task, params = cluster_task(), network("trained")
    x, y, starts = task.x_test[:, :10], task.y_test[:, :10], random_starts(3, task.x.shape[-1])
    together = minimal_attack(params, x, y, starts)
    for m in range(2):
        alone = {name: leaf[m : m + 1] for name, leaf in params.items()}
        for p in range(10):
            one = minimal_attack(alone, x[m : m + 1, p : p + 1], y[m : m + 1, p : p + 1], starts)
            torch.testing.assert_close(one.radius[0, 0], together.radius[m, p], rtol=1e-8, atol=0)


def test_rotating_the_space_or_flipping_the_labels_changes_no_radius():
    task, params = cluster_task(), network("trained")
    x, y, starts = task.x_test[:, :30], task.y_test[:, :30], random_starts(3, task.x.shape[-1])
    turn = torch.linalg.qr(random_starts(x.shape[-1], x.shape[-1], seed=9)[0, 0]).Q
    base = minimal_attack(params, x, y, starts)
    rotated = minimal_attack({**params, "w": params["w"] @ turn}, x @ turn, y, starts @ turn)
    torch.testing.assert_close(rotated.radius, base.radius, rtol=1e-7, atol=0)
    torch.testing.assert_close(rotated.delta, base.delta @ turn, rtol=1e-4, atol=1e-6)
    opposite = minimal_attack({**params, "v": -params["v"]}, x, -y, starts)
    torch.testing.assert_close(opposite.radius, base.radius, rtol=1e-8, atol=0)


def test_misclassified_points_have_radius_zero_and_constant_signs_infinite_radius():
    params = random_network(1, 6, 3, seed=3)
    x = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert (minimal_attack(params, x, -outputs(params, x).sign(), random_starts(2, 3)).radius == 0).all()
    positive = {**params, "v": params["v"].abs(), "b": params["b"].abs() + 5}
    attack = minimal_attack(positive, x, torch.ones(1, 20).double(), random_starts(2, 3))
    assert attack.radius.isinf().all() and not attack.success.any() and (attack.delta == 0).all()
