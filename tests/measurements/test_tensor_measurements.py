"""Ranks, truncation curves and bounds of t-NNs with layers whose ranks and norms are known."""

import math

import pytest
import torch

from src.errors import ConfigError
from src.measurements import bounds, tensor_ranks, truncation
from src.tensors.products import t_product, t_truncate, truncated
from src.tensors.transforms import NAMES
from src.types import Snapshot
from tests.problems import network_problem
from tests.tnn_problems import problem


def snapshot(params):
    return Snapshot(0, params, torch.zeros(len(next(iter(params.values())))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rank", [None, 2])
def test_columns_are_those_of_the_layer(name, rank):
    task, model, params = problem(members=2, transform=name, rank=rank, coordinates="original")
    row = tensor_ranks.build(task, model, spectrum=True)(snapshot(params))
    m = model.transform
    for member in range(2):
        w = (
            params["w2"][member]
            if rank is None
            else model.scale * t_product(params["w2_left"][member], params["w2_right"][member], m)
        )
        sigma = torch.linalg.svdvals(m.forward(w))
        expected = {"fnorm": w.norm(), "specnorm": sigma.max(), "rho": sigma.max() / w.norm()}
        expected["nuclear"] = (m.multiplicity[:, None] * sigma).sum()
        for column, value in expected.items():
            torch.testing.assert_close(row[f"{column}_2"][member], value)
        assert row["tubal_rank_2"][member] == (rank or 6)
        torch.testing.assert_close(row["spectrum_2"][member], sigma.flatten())
    rho = torch.stack([row[f"rho_{place}"] for place in (1, 2, 3)])
    torch.testing.assert_close(row["harmonic_ratio"], 3 / rho.sum(0))
    if m.orthogonal:
        torch.testing.assert_close(row["srank_2"] * row["rho_2"] ** 2, torch.ones(2).double())
    torch.testing.assert_close(row["fnorm_v"], params["v"].flatten(1).norm(dim=1))
    product = row["fnorm_1"] * row["fnorm_2"] * row["fnorm_3"] * row["fnorm_v"]
    torch.testing.assert_close(row["norm_product"], product)


@pytest.mark.parametrize("rank", [None, 3])
def test_truncating_at_the_rank_of_the_layers_changes_nothing(rank):
    task, model, params = problem(members=2, n=40, rank=rank, width=8, d=5)
    row = truncation.build(task, model, ranks=[1, 3, 8], values=[1, 1000], eps=0.05)(snapshot(params))
    q = task.y_test * model.apply(params, task.x_test)
    expected = (q > 0).double().mean(-1)
    torch.testing.assert_close(row["truncated_clean"][:, -1], expected)
    torch.testing.assert_close(row["largest_clean"][:, -1], expected)
    assert (row["count_needed_clean"] <= 1000).all()
    assert row["truncated_rank"].tolist() == [[1, 3, 8]] * 2
    if rank == 3:
        torch.testing.assert_close(row["truncated_clean"][:, 1], expected)
        torch.testing.assert_close(row["truncated_fgsm"][:, 1], row["truncated_fgsm"][:, 2])


@pytest.mark.parametrize(("before", "after"), [(0.07, 0.06), (0.1, 0.09), (0.13, 0.12)])
def test_a_loss_of_exactly_the_tolerance_is_allowed(monkeypatch, before, after):
    """One point of a hundred is 1 %, though 0.07 − 0.01 > 0.06 in floating point."""
    task, model, params = problem(members=2, n=10, width=8, d=5)
    accuracies = iter([after, before, 0.0] * 2)
    monkeypatch.setattr(truncation, "accuracy", lambda *_: torch.full((2,), next(accuracies), dtype=torch.float64))
    row = truncation.build(task, model, ranks=[1], values=[1], tolerance=0.01)(snapshot(params))
    assert row["rank_needed_clean"].tolist() == [1, 1] and row["rank_needed_fgsm"].tolist() == [1, 1]


def test_truncated_accuracy_is_that_of_the_truncated_network():
    task, model, params = problem(members=2, n=60, width=8)
    row = truncation.build(task, model, ranks=[1], values=[5], eps=0.05)(snapshot(params))
    short = model.mapped(params, lambda hat: truncated(hat, 1))
    expected = (task.y_test * model.apply(short, task.x_test) > 0).double().mean(-1)
    torch.testing.assert_close(row["truncated_clean"][:, 0], expected)
    original = model.transform.inverse(params["w2"])
    torch.testing.assert_close(t_truncate(original, 1, model.transform), model.transform.inverse(short["w2"]))


def test_bounds_by_hand():
    task, model, params = problem(rank=2, n=25, d=5, c=4, width=6)
    row = bounds.build(task, model, eps=0.1)(snapshot(params))
    layers = model.layers(model.hat(params))
    product = math.prod(model.scale * float(model.transform.inverse(hat).norm()) for hat in layers.values())
    product *= float(params["v"].norm())
    size = max(float(image.norm()) for image in task.x[0])
    full, low = 4 * (6 * 5 + 6 * 6 + 6 * 6), 4 * 2 * (11 + 12 + 12)
    assert row["parameters_full"].tolist() == [full] and row["parameters_low_rank"].tolist() == [low]
    depth, reached = math.sqrt(2 * math.log(2) * 4) + 1, size + 0.1 * math.sqrt(20)
    assert float(row["bound_standard"]) == pytest.approx(size * product * depth / 5)
    assert float(row["bound_adversarial"]) == pytest.approx(reached * product * math.sqrt(full) / 5)
    assert float(row["bound_low_rank"] / row["bound_adversarial"]) == pytest.approx(math.sqrt(low / full))
    spectra = [torch.linalg.svdvals(hat) for hat in layers.values()]
    change = reached * float(params["v"].norm()) * math.prod(model.scale * float(sigma.max()) for sigma in spectra)
    change *= sum(float(sigma[..., 1].max() / sigma.max()) for sigma in spectra)
    of_one = reached * product * math.sqrt(low / 2) / 5 + 2 * change
    expected = min((of_one, 1), (float(row["bound_low_rank"]), 2))
    assert (float(row["bound_approximate"]), int(row["rank_approximate"])) == (pytest.approx(expected[0]), expected[1])


def test_truncation_changes_no_output_by_more_than_the_bound():
    """|f − f_r| ≤ ‖x‖ ‖w‖ ∏ s‖W^l‖_sp Σ σ_{r+1}(W^l)/‖W^l‖_sp, the δ_r of the approximate bound."""
    task, model, params = problem(members=3, n=50, width=8, bias=False)
    sigma = [torch.linalg.svdvals(hat) for hat in model.layers(model.hat(params)).values()]
    largest = torch.stack([values.amax((-2, -1)) for values in sigma])
    gain = params["v"].flatten(1).norm(dim=1) * (model.scale * largest).prod(0)
    for rank in (1, 2, 4):
        short = model.mapped(params, lambda hat, rank=rank: truncated(hat, rank))
        changed = (model.apply(params, task.x) - model.apply(short, task.x)).abs()
        lost = sum(values[..., rank].amax(-1) / top for values, top in zip(sigma, largest, strict=True))
        assert (changed <= (gain * lost)[:, None] * task.x.flatten(-2).norm(dim=-1) * (1 + 1e-9)).all()


def test_whole_layers_of_low_rank_have_the_bound_of_that_rank():
    task, model, params = problem(members=2, n=25, d=8, width=8)
    low = model.mapped(params, lambda hat: truncated(hat, 1))
    row = bounds.build(task, model)(snapshot(low))
    torch.testing.assert_close(row["bound_approximate"], row["bound_low_rank"])
    assert row["rank_approximate"].tolist() == [1, 1]


@pytest.mark.parametrize("measurement", [tensor_ranks, truncation, bounds])
def test_rejects_networks_without_t_layers(measurement):
    task, model, _ = network_problem()
    with pytest.raises(ConfigError, match="model=tnn"):
        measurement.build(task, model)
