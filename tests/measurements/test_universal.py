import pytest
import torch

from src.errors import ConfigError
from src.measurements import universal
from src.models import two_layer_relu
from src.types import Snapshot
from tests.networks import cluster_task, network, outputs


def measured(params, task, **options):
    model = two_layer_relu.build(task)
    return universal.build(task, model, **options)(Snapshot(0, params, torch.zeros(len(params["b"]))))


def test_feature_averaging_is_flipped_by_z_alone():
    """O2: z flips half of the points at √(d/k) and nearly all at a relative 2.3σ√(k/d) more; no control flips any."""
    key = {"k": 8, "d": 4096, "n": 16, "sigma": 0.2, "n_test": 500}
    task = cluster_task(**key)
    row = measured(network("averaging", tuple(key.items())), task)
    oracle = task.facts["radius_oracle"]
    torch.testing.assert_close(row["z_r50"], oracle, rtol=5e-3, atol=0)
    later = torch.full((2,), 2.3 * 0.2 * (8 / 4096) ** 0.5).double()
    torch.testing.assert_close(row["z_r99"] / row["z_r50"] - 1, later, rtol=0.2, atol=0)
    torch.testing.assert_close(row["z_r50"], row["z_r50_weak"], rtol=1e-8, atol=0)
    assert (row["z_flip"] == 1).all() and (row["z_monotone"] == 1).all() and (row["z_points"] == 500).all()
    for control in ("shuffled", "pair", "gaussian"):
        assert (row[f"{control}_flip"] == 0).all()
    assert all(values.dtype in (torch.float64, torch.int64) for values in row.values())


def test_robust_network_reaches_zero_long_before_it_flips():
    """Along z both radii are √(dk)/2; test_robustness has the directions from mean to mean."""
    key = (("k", 2), ("d", 4096), ("n", 16), ("sigma", 0.01))
    row = measured(network("robust", key), cluster_task(**dict(key)))
    torch.testing.assert_close(row["z_r50"], torch.full((2,), 2048**0.5).double(), rtol=1e-2, atol=0)


@pytest.mark.parametrize("kind", ["averaging", "trained"])
def test_radii_and_curve_agree(kind):
    task = cluster_task(sigma=1.0)
    params = network(kind, (("sigma", 1.0),))
    row = measured(params, task)
    z = (task.facts["labels"][..., None] * task.facts["means"]).sum(1, keepdim=True)
    right = task.y_test * outputs(params, task.x_test) > 0
    for percent in (50, 99):
        for share, enough in ((1 - 1e-6, False), (1 + 1e-6, True)):
            push = share * row[f"z_r{percent}"][:, None, None] * z / z.norm(dim=-1, keepdim=True)
            flipped = task.y_test * outputs(params, task.x_test - task.y_test[..., None] * push) < 0
            assert (((flipped & right).sum(-1) >= percent / 100 * right.sum(-1)) == enough).all()
    inside = row["curve_radius"] * task.facts["radius_oracle"][:, None]
    assert ((row["curve_flip"] >= 0.5) == (inside >= row["z_r50"][:, None])).all()


def test_fresh_points_are_new_points_of_the_same_law():
    key = (("sigma", 1.0), ("n_test", 2000))
    task, params = cluster_task(**dict(key)), network("trained", key)
    test_set, fresh = measured(params, task), measured(params, task, points=3000)
    assert (fresh["z_points"] == 3000).all()
    assert (fresh["z_r50"] != test_set["z_r50"]).all()
    torch.testing.assert_close(fresh["z_r50"], test_set["z_r50"], rtol=0.05, atol=0)
    again = measured(params, task, points=3000)
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)


def test_a_flip_that_is_undone_at_larger_norms_is_reported():
    """N(x) = |s| − 0.9 with s = ẑ·x in units of the means: flipped while |s| < 0.9, then correct again."""
    task = cluster_task(k=2, d=1024, n=16, sigma=0.01)
    z = (task.facts["labels"][..., None] * task.facts["means"]).sum(1)
    s = z / (z.norm(dim=-1, keepdim=True) * 512**0.5)
    params = {
        "w": torch.stack([s, -s, 0 * s], 1),
        "b": torch.tensor([[0.0, 0.0, 1.0]]).double().repeat(2, 1),
        "v": torch.tensor([[1.0, 1.0, -0.9]]).double().repeat(2, 1),
    }
    row = measured(params, task)
    assert (row["z_monotone"] == 0).all()
    assert (row["z_points"] == (task.y_test > 0).sum(-1)).all()
    torch.testing.assert_close(row["z_r50"], torch.full((2,), 0.1 * 512**0.5).double(), rtol=1e-2, atol=0)


def test_controls_match_their_definitions():
    task = cluster_task(k=12, d=4096, n=16)
    means, labels = task.facts["means"], task.facts["labels"]
    vectors = universal.control_vectors(means, labels, 4096, [0, 1], 50)
    unit_means = means / 64
    shuffled = vectors["shuffled"] @ unit_means.mT
    torch.testing.assert_close(shuffled.abs(), torch.full_like(shuffled, 12**-0.5))
    assert ((shuffled * labels[:, None]).sum(-1).abs() < 1e-9).all()
    assert (shuffled.sign() != shuffled[:, :1].sign()).any()
    pair = vectors["pair"] @ unit_means.mT
    torch.testing.assert_close(pair.max(-1).values, torch.full((2, 50), 0.5**0.5).double())
    assert ((pair.abs() > 1e-9).sum(-1) == 2).all() and ((pair * labels[:, None]).min(-1).values > -1e-9).all()
    # Of a random direction of R^d, r of d squared parts lie in r coordinates.
    inside = vectors["gaussian"].square().sum(-1).mean()
    assert inside == pytest.approx(28 / 4096, rel=0.1)


def test_members_are_independent():
    task = cluster_task()
    params = network("trained")
    both = measured(params, task)
    alone = measured({name: leaf[1:] for name, leaf in network("trained").items()}, cluster_task(seeds=(1,)))
    for name, values in both.items():
        torch.testing.assert_close(values[1:], alone[name], rtol=1e-8, atol=0, msg=name)


@pytest.mark.parametrize("attempt", range(4))
def test_an_output_that_cancels_to_zero_is_no_flip(attempt):
    """relu(a) − relu(b) with a = b is 0 everywhere, and has either sign by rounding."""
    draw = torch.Generator().manual_seed(attempt)
    u, x = (torch.randn(1, n, 5, generator=draw, dtype=torch.float64) for n in (3, 50))
    turn = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.float64)).Q
    params = {
        "w": torch.cat([u, u @ turn @ turn.mT], 1),
        "b": torch.ones(1, 6, dtype=torch.float64),
        "v": torch.tensor([[1.0, 2.0, 3.0, -1.0, -2.0, -3.0]], dtype=torch.float64),
    }
    vectors = torch.randn(1, 8, 5, generator=draw, dtype=torch.float64)
    y, right = torch.ones(1, 50, dtype=torch.float64), torch.ones(1, 50, dtype=torch.bool)
    assert (universal.flip_shares(params, x, y, right, vectors) == 0).all()


def test_quantile_ignores_nan():
    values = torch.tensor([[3.0, torch.nan, 1.0, torch.inf, 2.0], [torch.nan] * 5])
    assert universal.quantile(values, 0.5)[0] == 2
    assert universal.quantile(values, 0.75)[0] == 3
    assert universal.quantile(values, 0.99)[0] == torch.inf
    assert universal.quantile(values, 0)[0] == 1
    assert universal.quantile(values, 0.5)[1].isnan()
    assert universal.quantile(torch.arange(1, 101.0)[None], 0.99) == 99


def test_needs_clusters():
    task = cluster_task()._replace(facts={})
    with pytest.raises(ConfigError, match="clusters"):
        universal.build(task, None)
