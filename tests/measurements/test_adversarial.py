"""Columns of attacked networks against the attack called directly and the batch-wise sum of the released code."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, softplus

from src.attacks.bim import fgsm
from src.errors import ConfigError
from src.measurements import adversarial
from src.types import Snapshot
from tests.tnn_problems import images, problem

EPS = 0.1


def setting(**options):
    task, model, params = problem(members=2, n=30, **options)
    other = images(2, 20, seed=9)
    task = task._replace(x_test=other.x[0], y_test=other.y[0])
    params = {name: 1.5 * leaf for name, leaf in params.items()}
    return task, model, Snapshot(0, params, torch.zeros(2))


def measured(task, model, snapshot, **options):
    return adversarial.build(task, model, eps=EPS, eps_l2=0.3, **options)(snapshot)


def test_losses_and_accuracies_are_those_of_the_attack():
    task, model, snapshot = setting()
    row = measured(task, model, snapshot)
    test = task.x_test.expand(2, -1, -1, -1), task.y_test.expand(2, -1)
    for part, (x, y) in {"train": (task.x, task.y), "test": test}.items():
        worst = fgsm(model.apply, snapshot.params, x, y, EPS, box=(0.0, 1.0))
        for name, inputs in (("clean", x), ("fgsm", worst)):
            q = y * model.apply(snapshot.params, inputs)
            torch.testing.assert_close(row[f"{part}_{name}_loss"], softplus(-q).mean(-1))
            torch.testing.assert_close(row[f"{part}_{name}_accuracy"], (q > 0).double().mean(-1))
    torch.testing.assert_close(row["gap_fgsm_loss"], row["test_fgsm_loss"] - row["train_fgsm_loss"])
    torch.testing.assert_close(row["gap_clean_accuracy"], row["train_clean_accuracy"] - row["test_clean_accuracy"])


def test_stronger_attacks_have_lower_accuracy(monkeypatch):
    task, model, snapshot = setting()
    row = measured(task, model, snapshot, attacks=["fgsm", "pgd10", "pgd40", "l2"])
    for part in ("train", "test"):
        loss = {name: row[f"{part}_{name}_loss"] for name in ("clean", "fgsm", "pgd10", "pgd40", "l2")}
        assert (loss["clean"] < loss["l2"]).all() and (loss["clean"] < loss["fgsm"]).all()
        assert (loss["pgd40"] >= loss["pgd10"] - 1e-9).all() and (loss["pgd40"] >= loss["fgsm"] - 1e-9).all()
    monkeypatch.setattr(adversarial, "CHUNK", 7)
    again = measured(task, model, snapshot, attacks=["fgsm", "pgd10", "pgd40", "l2"])
    for name, values in row.items():
        torch.testing.assert_close(again[name], values)


def test_more_restarts_are_stronger_and_members_are_independent():
    task, model, snapshot = setting()
    once, often = (measured(task, model, snapshot, attacks=["pgd10", "l2"], restarts=k) for k in (1, 6))
    for name in ("train_pgd10_loss", "train_l2_loss"):
        assert (often[name] > once[name]).all()
    second = Snapshot(0, {name: leaf[1:] for name, leaf in snapshot.params.items()}, torch.zeros(1))
    alone = measured(task._replace(x=task.x[1:], y=task.y[1:]), model, second, attacks=["pgd10", "l2"], restarts=6)
    for name, values in alone.items():
        torch.testing.assert_close(values[0], often[name][1])


def test_only_the_first_points():
    task, model, snapshot = setting()
    few = measured(task, model, snapshot, train_points=5, test_points=4)
    first = task._replace(x=task.x[:, :5], y=task.y[:, :5], x_test=task.x_test[:4], y_test=task.y_test[:4])
    for name, values in measured(first, model, snapshot).items():
        torch.testing.assert_close(few[name], values)


def test_risk_as_in_the_released_code():
    """The sum of batch means over the number of examples is about the mean loss over the batch size."""
    task, model, snapshot = setting()
    row = measured(task, model, snapshot, released_batch=8)
    x, y, total = task.x, task.y, torch.zeros(2).double()
    for at in range(0, 30, 8):
        inputs, labels = x[:, at : at + 8], y[:, at : at + 8]
        worst = fgsm(model.apply, snapshot.params, inputs, labels, EPS, box=(0.0, 1.0))
        p = model.apply(snapshot.params, worst).sigmoid()
        total += binary_cross_entropy(p, (labels + 1) / 2, reduction="none").mean(-1)
    torch.testing.assert_close(row["train_released_risk"], total / 30, rtol=1e-5, atol=0)
    torch.testing.assert_close(row["gap_released_risk"], row["test_released_risk"] - row["train_released_risk"])
    assert (row["train_released_risk"] < row["train_fgsm_loss"] / 7).all()


def test_rejects_an_invalid_box():
    task, model, _ = setting()
    with pytest.raises(ConfigError, match=r"measurements\.adversarial\.box"):
        measured(task, model, None, box=[1.0])
