import pytest
import torch

from src.attacks.minimal import minimal_attack
from src.attacks.pgd import pgd as pgd_attack
from src.errors import ConfigError
from src.measurements import pgd, robustness, universal
from src.measurements.certificate import certified_radius
from src.models import two_layer_relu
from src.types import Snapshot
from tests.networks import KINDS, cluster_task, network, outputs, random_network


def measured(measurement, params, task, **options):
    model = two_layer_relu.build(task)
    return measurement.build(task, model, **options)(Snapshot(0, params, torch.zeros(len(params["b"]))))


@pytest.mark.parametrize("kind", KINDS)
def test_inequalities_hold_on_every_point(kind):
    row = measured(robustness, network(kind), cluster_task(), points=30)
    assert (row["certificate_violations"] == 0).all() and (row["attack_above_z"] == 0).all()
    certificate, attack, z = (row[f"{name}_radii"] for name in ("certificate", "attack", "z"))
    known = ~attack.isnan()
    assert attack.shape == (2, 30)
    assert (certificate <= attack)[known].all() and (attack <= z * (1 + 1e-9))[known].all()
    assert known.all() or kind == "random"
    assert (row["zero_gradient"] == 0).all()
    assert all(values.dtype in (torch.float64, torch.int64) for values in row.values())


def test_bounds_are_close_on_a_trained_network():
    key = {"k": 4, "d": 1024, "n": 64, "sigma": 0.3}
    row = measured(robustness, network("trained", tuple(key.items())), cluster_task(**key), points=50)
    assert (row["certificate_over_attack"] > 0.96).all() and (row["certificate_over_attack_worst"] > 0.9).all()
    torch.testing.assert_close(row["attack_median"], torch.full((2,), 16.0).double(), rtol=0.05, atol=0)


def test_robust_network_has_radii_of_the_order_of_the_distance_of_the_clusters():
    """O4: certified up to √d/2, flipped strictly at √(d/2), from every cluster and by the nearest other one."""
    key = (("k", 8), ("d", 65536), ("n", 16), ("sigma", 0.1))
    row = measured(robustness, network("robust", key), cluster_task(**dict(key)), points=40)
    torch.testing.assert_close(row["certificate_median"], torch.full((2,), 128.0).double(), rtol=5e-3, atol=0)
    torch.testing.assert_close(row["attack_median"], torch.full((2,), 32768**0.5).double(), rtol=5e-3, atol=0)
    assert (row["attack_radii"] / 32768**0.5 > 0.99).all() and (row["attack_radii"] / 32768**0.5 < 1.01).all()


def test_counts_unflipped_points_and_excludes_misclassified_ones():
    task = cluster_task()
    never = {name: leaf.abs() if name == "v" else leaf for name, leaf in network("trained").items()}
    row = measured(robustness, never, task, points=80)
    right = (task.y_test * outputs(never, task.x_test) > 0).sum(-1)
    assert (row["attack_unflipped"] == right).all() and (right < 80).all()
    assert (row["attack_radii"].isnan().sum(-1) == 80 - right).all()
    assert row["attack_median"].isinf().all() and row["certificate_over_attack"].isnan().all()


def test_a_flat_point_is_counted():
    """The gradient of a constant network is zero; the plateau of the robust one is tested with PGD."""
    task = cluster_task()
    flat = {name: torch.zeros_like(leaf) for name, leaf in network("trained").items()}
    flat["b"] += 1
    flat["v"] += 1
    assert (measured(robustness, flat, task, points=5)["zero_gradient"] == 1).all()


def test_pgd_respects_certificates_and_improves_with_restarts():
    key = {"k": 8, "d": 4096, "n": 64, "sigma": 0.3}
    task, params = cluster_task(**key), network("trained", tuple(key.items()))
    row = measured(pgd, params, task, points=40, restarts=4)
    radii = measured(robustness, params, task, points=40)
    eps = row["pgd_curve_eps"] * task.facts["radius_oracle"][:, None]
    for size, one, more, z in zip(
        eps.mT, row["pgd40_curve"].mT, row["pgd_restarts_curve"].mT, row["z_curve"].mT, strict=True
    ):
        certified = (radii["certificate_radii"] < size[:, None]).double().mean(-1)
        attacked = (radii["attack_radii"] <= size[:, None]).double().mean(-1)
        assert (one <= more).all() and (more <= certified).all() and (z <= attacked).all()
    assert (row["pgd40_flip"] < row["pgd_z_flip"]).all()
    assert (row["pgd_z_flip"] == row["z_curve"][:, row["pgd_curve_eps"][0] == 1.06].squeeze(-1)).all()


def test_pgd_is_limited_by_the_length_of_its_steps():
    key = {"k": 8, "d": 4096, "n": 64, "sigma": 0.3}
    task, params = cluster_task(**key), network("trained", tuple(key.items()))
    for travel, flips in ((0.8, False), (2.5, True)):  # 0.8·1.06 of the oracle radius is certified
        row = measured(pgd, params, task, points=20, restarts=1, travel=travel, curve=[1.0])
        assert ((row["pgd2000_flip"] > 0) == flips).all()


@pytest.fixture
def fewer_steps(monkeypatch):
    monkeypatch.setattr(pgd, "pgd", lambda *args, steps, **given: pgd_attack(*args, steps=min(steps, 40), **given))


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("measurement", [robustness, pgd])
def test_members_are_independent(measurement):
    both = measured(measurement, network("trained"), cluster_task(), points=6)
    second = {name: leaf[1:] for name, leaf in network("trained").items()}
    alone = measured(measurement, second, cluster_task(seeds=(1,)), points=6)
    for name, values in both.items():
        torch.testing.assert_close(values[1:], alone[name], rtol=1e-8, atol=0, msg=name)


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("measurement", [universal, robustness, pgd])
def test_a_task_in_single_precision_is_measured_in_double(measurement):
    task = cluster_task()
    rounded = {name: task.facts[name].float() for name in ("means", "labels", "radius_oracle")}
    single = task._replace(x_test=task.x_test.float(), y_test=task.y_test.float(), facts={**task.facts, **rounded})
    params = {name: leaf.float() for name, leaf in network("trained").items()}
    few = {} if measurement is universal else {"points": 10}
    row, base = measured(measurement, params, single, **few), measured(measurement, network("trained"), task, **few)
    for name in set(row) & {"z_r50", "attack_radii", "certificate_radii", "pgd_z_flip", "curve_radius"}:
        torch.testing.assert_close(row[name], base[name], rtol=1e-4, atol=0, msg=name)


@pytest.mark.parametrize("measurement", [robustness, pgd])
def test_needs_clusters(measurement):
    with pytest.raises(ConfigError, match="clusters"):
        measurement.build(cluster_task()._replace(facts={}), None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["random", "trained"])
def test_an_independent_attack_library_agrees(kind):
    """Foolbox finds no flip in a certified ball, and none 1 % smaller than ours."""
    foolbox = pytest.importorskip("foolbox")
    if kind == "trained":
        task, params = cluster_task(n=8), network("trained", (("n", 8),))
        x, y = task.x_test[:1, :20], task.y_test[:1, :20]
        params = {name: leaf[:1] for name, leaf in params.items()}
    else:
        params = random_network(1, 10, 5, seed=6)
        x = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        y = outputs(params, x).sign()
    starts = torch.randn(1, 1, 10, x.shape[-1], generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    ours = minimal_attack(params, x, y, starts).radius[0]
    certificate = certified_radius(params, x, y)[0]

    class TwoLogits(torch.nn.Module):
        def forward(self, points):
            value = outputs(params, points[None])[0]
            return torch.stack([-value, value], -1)

    model = foolbox.PyTorchModel(TwoLogits().eval(), bounds=(-200, 200), device="cpu")
    attacks = [
        (foolbox.attacks.L2DeepFoolAttack(steps=100, overshoot=1e-6), None),
        (foolbox.attacks.DDNAttack(steps=200, init_epsilon=10.0), None),
        (foolbox.attacks.L2PGD(steps=100), list(ours.quantile(torch.tensor([0.3, 0.6, 0.9]).double()))),
    ]
    seen = torch.zeros(20, dtype=torch.bool)
    for attack, epsilons in attacks:
        _, moved, success = attack(model, x[0], (y[0] > 0).long(), epsilons=epsilons)
        for points, flipped in zip(moved, success, strict=True) if epsilons else [(moved, success)]:
            norm = (points - x[0]).norm(dim=-1)
            flipped &= y[0] * outputs(params, points[None])[0] < 0
            assert (norm >= certificate)[flipped].all()
            assert (norm >= 0.99 * ours)[flipped].all()
            seen |= flipped
    assert seen.double().mean() > 0.5
