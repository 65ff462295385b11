import pytest
import torch

from src.attacks.ball import ball_points, unit_vectors
from src.attacks.pgd import margin_and_gradient, pgd
from tests.networks import cluster_task, network, outputs, random_network


def linear(params, x):
    return (x * params["u"][:, None]).sum(-1)


def points(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_linear_network_flips_exactly_beyond_its_distance(norm, dual):
    params = {"u": points((2, 7), 0)}
    x = points((2, 30, 7), 1)
    product = linear(params, x)
    distance = product.abs() / params["u"].norm(p=dual, dim=-1, keepdim=True)
    for share, flipped in ((0.999, False), (1.001, True)):
        attack = pgd(linear, params, x, product.sign(), share * distance, steps=10, step=0.2, norm=norm)
        assert (attack.success == flipped).all()
        assert (attack.radius <= share * distance * (1 + 1e-12)).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("box", [None, (-1.0, 1.0)])
def test_stays_in_the_ball_and_in_the_box(norm, box):
    params, x = random_network(2, 10, 6, seed=0), points((2, 25, 6), 2).clamp(-1, 1)
    y = outputs(params, x).sign()
    eps = torch.linspace(0.05, 2, 25, dtype=torch.float64)
    attack = pgd(outputs, params, x, y, eps, steps=15, step=0.3, norm=norm, seeds=[3, 4], restarts=4, box=box)
    assert (attack.radius <= eps * (1 + 1e-12)).all()
    size = attack.delta.norm(dim=-1) if norm == "l2" else attack.delta.abs().amax(-1)
    torch.testing.assert_close(size, attack.radius)
    assert box is None or (x + attack.delta).abs().max() <= 1 + 1e-12
    assert torch.equal(y * outputs(params, x + attack.delta) < 0, attack.success)
    assert 0 < attack.success.float().mean() < 1


def test_keeps_the_best_of_all_iterates_and_all_restarts():
    params, x = random_network(1, 10, 6, seed=1), points((1, 40, 6), 3)
    y = outputs(params, x).sign()

    def margin(**options):
        attack = pgd(outputs, params, x, y, 0.5, step=1.5, **options)
        return y * outputs(params, x + attack.delta)

    assert (margin(steps=0) == y * outputs(params, x)).all()
    few, more = margin(steps=2), margin(steps=9)
    assert (more <= few).all() and (more < few).any()
    one, five = margin(steps=5, seeds=[0]), margin(steps=5, seeds=[0], restarts=5)
    assert (five <= one).all() and (five < one).any()


def test_members_are_independent():
    params, x = random_network(3, 8, 5, seed=2), points((3, 6, 5), 4)
    y = outputs(params, x).sign()
    together = pgd(outputs, params, x, y, 0.4, steps=7, step=0.3, seeds=[5, 6, 7], restarts=3)
    for m in range(3):
        alone = {name: leaf[m : m + 1] for name, leaf in params.items()}
        one = pgd(outputs, alone, x[m : m + 1], y[m : m + 1], 0.4, steps=7, step=0.3, seeds=[5 + m], restarts=3)
        torch.testing.assert_close(one.delta[0], together.delta[m], rtol=1e-8, atol=1e-12)


def test_plateau_of_the_robust_network_hides_the_flips_from_pgd():
    """Beyond √d/2 the output is exactly 0, so PGD finds no strict flip up to √d, though flips exist from √(d/2)."""
    task, params = cluster_task(k=8, d=4096, n=16), network("robust", (("k", 8), ("d", 4096), ("n", 16)))
    x, y = task.x_test, task.y_test
    attack = pgd(outputs, params, x, y, 64.0, steps=40, step=2.5 / 40, seeds=[0, 1], ambient=4096)
    margin, gradient = margin_and_gradient(outputs, params, x + attack.delta, y)
    assert not attack.success.any()
    assert (margin == 0).all() and (gradient == 0).all()


def test_reduced_coordinates_with_an_ambient_dimension_have_the_law_of_the_full_space():
    """The fraction of starts with a flip is the same in R^60 and in the 4 coordinates the network depends on."""
    small = random_network(1, 10, 4, seed=4)
    full = {**small, "w": torch.nn.functional.pad(small["w"], (0, 56))}
    x, starts = points((1, 20, 4), 5), 200
    y = outputs(small, x).sign()
    x, y = x.repeat(1, starts, 1), y.repeat(1, starts)

    def share(params, x, ambient, seed):
        attack = pgd(outputs, params, x, y, 2.0, steps=4, step=0.2, seeds=[seed], ambient=ambient)
        return attack.success.double().view(starts, 20).mean(0)

    reduced = share(small, x, 60, 0)
    whole = share(full, torch.nn.functional.pad(x, (0, 56)), None, 1)
    within = share(small, x, None, 2)  # starts of R^4: another law
    assert (reduced - whole).abs().mean() < 0.02 < 0.05 < (within - whole).abs().mean()


def test_random_points_of_a_high_dimensional_ball():
    inside, outside = unit_vectors(0, "test", 4000, 3, 10**6)
    torch.testing.assert_close(inside.square().sum(-1) + outside.square(), torch.ones(4000).double())
    assert inside.square().sum(-1).mean() == pytest.approx(3e-6, rel=0.05)
    inside, outside = ball_points(0, "test", 4000, 3, 3)
    assert (outside == 0).all()
    # In R³ half the volume lies within radius 2^{-1/3}.
    assert (inside.norm(dim=-1) < 0.5 ** (1 / 3)).double().mean() == pytest.approx(0.5, abs=0.03)


def test_rejects_identical_restarts_and_an_ambient_linf_ball():
    params, x = random_network(1, 4, 3, seed=5), points((1, 2, 3), 6)
    y = torch.ones(1, 2).double()
    with pytest.raises(ValueError, match="seeds"):
        pgd(outputs, params, x, y, 1.0, steps=1, step=1.0, restarts=2)
    with pytest.raises(ValueError, match="l2"):
        pgd(outputs, params, x, y, 1.0, steps=1, step=1.0, norm="linf", ambient=10)
