import math

import pytest
import torch
from scipy import stats

from src.data import clusters
from src.errors import ConfigError

SMALL = {"k": 3, "d": 16, "n": 9, "n_test": 5, "sigma": 0.7}


def products(coordinates: str, **kwargs) -> dict[str, torch.Tensor]:
    """Return rotation invariants for many seeds: inner products of means, training and test points."""
    task = clusters.build(range(400), **{**SMALL, "coordinates": coordinates, **kwargs})
    points = torch.cat([task.facts["means"], task.x, task.x_test], 1)
    center = task.facts["means"].gather(1, task.facts["cluster"][..., None].expand_as(task.x))
    noise = task.x - center
    gram = points @ points.mT
    return {
        "mean · mean": gram[:, 0, 1],
        "mean · training": gram[:, 1, 3],
        "training · training": gram[:, 3, 4],
        "training · test": gram[:, 5, -1],
        "first noise": noise[:, 0].norm(dim=-1),
        "last noise": noise[:, -1].norm(dim=-1),
        "noise volume": torch.linalg.slogdet(noise @ noise.mT).logabsdet,
    }


@pytest.mark.parametrize("frame", ["random", "axes"])
@pytest.mark.parametrize("means", ["orthogonal", "sphere"])
@pytest.mark.parametrize("d", [12, 40])  # 12 = n + k, the least for which the reduction is exact
def test_reduced_and_full_coordinates_have_one_law(means, d, frame):
    reduced, full = products("reduced", means=means, d=d), products("full", means=means, d=d, frame=frame)
    for name in reduced:
        if reduced[name].std() > 1e-9:  # orthogonal means have constant products
            # other seeds for the full space, or the two samples would share their means
            assert stats.ks_2samp(reduced[name][:200], full[name][200:]).pvalue > 1e-3, name


def test_the_frame_of_full_coordinates():
    """On the axes means are √d·e_q; in a random frame their entries have the law of a random unit vector."""
    axes, random = (
        clusters.build(range(200), **SMALL, coordinates="full", frame=frame) for frame in ("axes", "random")
    )
    assert torch.equal(axes.facts["means"][7], 4 * torch.eye(3, 16).double())
    means = random.facts["means"]
    assert torch.allclose(means @ means.mT, 16 * torch.eye(3).double().expand(200, -1, -1))
    for entry in (means[:, 0, 0], means[:, 2, 15]):
        assert stats.kstest(entry**2 / 16, stats.beta(1 / 2, 15 / 2).cdf).pvalue > 1e-3
        assert 60 < (entry > 0).sum() < 140


def test_noise_norms_in_the_reduced_space_are_chi_distributed():
    task = clusters.build(range(300), **SMALL)
    center = task.facts["means"].gather(1, task.facts["cluster"][..., None].expand_as(task.x))
    for i in (0, 8):
        squared = ((task.x - center)[:, i] / SMALL["sigma"]).square().sum(-1)
        assert stats.kstest(squared, stats.chi2(SMALL["d"]).cdf).pvalue > 1e-3


def test_noise_at_huge_dimension_keeps_its_variance():
    d, n = 10**9, 4
    task = clusters.build(range(300), k=2, d=d, n=n, n_test=1, sigma=1.0)
    center = task.facts["means"].gather(1, task.facts["cluster"][..., None].expand_as(task.x))
    squared = (task.x - center)[:, n - 1].square().sum(-1)
    # χ²(d) is N(d, 2d) here
    assert stats.kstest((squared - d) / math.sqrt(2 * d), "norm").pvalue > 1e-3


@pytest.mark.parametrize("d", [6, 30])
def test_cosines_of_means_on_the_sphere_follow_the_beta_law(d):
    task = clusters.build(range(400), k=3, d=d, n=3, n_test=1, means="sphere")
    means = task.facts["means"]
    assert torch.allclose(means.norm(dim=-1), torch.full_like(means[..., 0], math.sqrt(d)))
    cosine = (means[:, 0] * means[:, 2]).sum(-1) / d
    assert stats.kstest((cosine + 1) / 2, stats.beta((d - 1) / 2, (d - 1) / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("coordinates", ["reduced", "full"])
def test_equicorrelated_means_have_their_cosine(rho, coordinates):
    task = clusters.build([0], k=5, d=64, n=10, n_test=1, means="equicorrelated", rho=rho, coordinates=coordinates)
    gram = task.facts["means"][0] @ task.facts["means"][0].T
    assert torch.allclose(gram, 64 * ((1 - rho) * torch.eye(5).double() + rho))


def test_a_basis_maps_to_the_full_space():
    task = clusters.build([3], **SMALL)
    frame = clusters.basis(3, 50, task.x.shape[-1])
    full = clusters.to_full(task.x, frame)
    assert full.shape == (1, 9, 50)
    assert torch.allclose(full @ full.mT, task.x @ task.x.mT)
    assert torch.allclose(full @ frame, task.x)


def test_every_member_depends_on_its_own_seed_only():
    together = clusters.build([4, 7], **SMALL)
    alone = clusters.build([7], **SMALL)
    assert torch.equal(together.x[1], alone.x[0])
    assert torch.equal(together.x_test[1], alone.x_test[0])
    assert not torch.allclose(together.x[0], together.x[1])
    assert not torch.allclose(together.x_test[0], together.x_test[1])


def test_fresh_points_depend_on_rng_key_and_index():
    facts = clusters.build([0, 1], **SMALL).facts
    first, again, other = (clusters.draw(facts, 6, "audit", index)[0] for index in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).any()


def test_labels_are_those_of_the_clusters():
    task = clusters.build([0], k=5, d=64, n=20, n_test=50, negative=2, sigma=0.0)
    assert task.facts["labels"].tolist() == [[1, 1, 1, -1, -1]]
    for x, y, cluster in (
        (task.x, task.y, task.facts["cluster"]),
        (task.x_test, task.y_test, task.facts["cluster_test"]),
    ):
        assert torch.equal(y, task.facts["labels"].gather(1, cluster))
        assert torch.equal(x[0], task.facts["means"][0][cluster[0]])
    assert clusters.build([0], k=5, d=64, n=20).facts["labels"].sum() == 1  # k // 2 are negative


def test_stratified_samples_have_equally_many_points_of_every_cluster():
    counts = clusters.build([0], k=4, d=64, n=10, stratified=True).facts["cluster"][0].bincount(minlength=4)
    assert sorted(counts.tolist()) == [2, 2, 3, 3]
    free = clusters.build(range(30), k=4, d=64, n=8, stratified=False).facts["cluster"]
    assert any(len(row.unique()) < 4 for row in free)


def test_the_assumption_holds_for_the_strict_configuration_only():
    literal = clusters.build([0], k=4, d=40_000, n=8, n_test=1, sigma=0.1).facts
    noisy = clusters.build([0], k=8, d=4096, n=8, n_test=1, sigma=1.0).facts
    assert literal["assumption_left"] <= literal["assumption_right"]
    assert noisy["assumption_left"] > noisy["assumption_right"]
    spread = 4 * 0.1 * 200 * math.log(40_000)
    assert literal["assumption_left"].item() == pytest.approx(4 * (spread + 1))
    assert literal["assumption_right"].item() == pytest.approx((40_000 - spread + 1) / 10)
    correlated = clusters.build([0], k=4, d=40_000, n=8, n_test=1, sigma=0.1, means="equicorrelated", rho=0.2).facts
    extra = correlated["assumption_left"] - literal["assumption_left"]
    assert extra.item() == pytest.approx(4 * 0.2 * 40_000)


@pytest.mark.parametrize(
    ("keys", "blamed"),
    [
        ({"k": 20, "d": 16, "n": 30, "coordinates": "full"}, "data.k"),
        ({"k": 4, "d": 16, "n": 13}, "data.d"),
        ({"k": 1}, "data.k"),
        ({"negative": 0}, "data.negative"),
        ({"k": 4, "negative": 4}, "data.negative"),
        ({"k": 8, "n": 7}, "data.n"),
        ({"means": "equicorrelated", "rho": 1.0}, "data.rho"),
        ({"means": "sphere", "rho": 0.1}, "data.rho"),
    ],
)
def test_incompatible_keys_are_rejected(keys, blamed):
    with pytest.raises(ConfigError) as error:
        clusters.build([0], **keys)
    assert error.value.key == blamed


def test_a_sample_may_miss_clusters_if_it_is_not_stratified():
    assert clusters.build([0], k=8, d=64, n=4, stratified=False).x.shape == (1, 4, 12)
