"""Loss and accuracy at clean and attacked inputs, on training and test set, and the gaps between the two.

All attacks are on the margin, whose gradient does not vanish as that of a saturated loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from src.attacks.bim import fgsm
from src.attacks.pgd import pgd
from src.constraints import Count, Positive, Share
from src.errors import ConfigError
from src.tensors.network import prepared
from src.training.objectives import log_saturating_loss
from src.types import Measurement, Model, Params, Snapshot, Task

Forward = Callable[[Params, Tensor], Tensor]
Attacker = Callable[[Forward, Params, Tensor, Tensor], Tensor]

CHUNK = 500  # examples attacked at a time, per member
TRAVEL = 2.5  # total length of the steps of PGD in units of ε


def build(
    task: Task,
    model: Model,
    *,
    eps: Share = 16 / 255,
    eps_l2: Positive = 1.0,
    attacks: list[Literal["fgsm", "pgd10", "pgd40", "l2"]] = ["fgsm"],  # noqa: B006 (read only)
    restarts: Count | None = None,
    box: list[float] | None = [0.0, 1.0],  # noqa: B006
    train_points: Count | None = None,
    test_points: Count | None = None,
    released_batch: Count | None = None,
) -> Measurement:
    """Measure ``train_A_loss``, ``train_A_accuracy`` and the same of ``test``, for A = clean and every attack.

    Losses are mean logistic losses, accuracies the fractions of examples with a margin > 0. ``gap_A_loss`` is
    test − train and ``gap_A_accuracy`` train − test, so that larger gaps are worse generalisation.

    Args:
        task: its training and test set.
        model: any network.
        eps: radius of the ℓ∞ attacks: ``fgsm`` (one step of length ε), ``pgd10`` and ``pgd40`` (steps of 2.5/10 and
            2.5/40 ε, best iterate).
        eps_l2: radius of ``l2``, 40 steps in an ℓ2 ball.
        attacks: names of the attacks.
        restarts: random starts of PGD, the best for each example; null starts at x.
        box: lowest and highest value of an input, or null.
        train_points: number of training examples, the first ones; null takes all.
        test_points: number of test examples, the first ones; null takes all.
        released_batch: also ``train_released_risk``, ``test_released_risk`` and ``gap_released_risk`` under FGSM as in
            the released code of Wang et al. (2023): the sum of the means of batches of this size over the number of
            examples, of the saturating loss, under an attack on that loss.

    Raises:
        ConfigError: unless ``box`` is null or two increasing numbers.
    """
    if box is not None and (len(box) != 2 or not box[0] < box[1]):
        raise ConfigError("measurements.adversarial.box", box, "must be two numbers, the lower one first, or null")
    attackers = {"clean": lambda forward, params, x, y: x}
    attackers |= {name: _attacker(name, eps, eps_l2, restarts, box) for name in attacks}
    sets = {
        "train": (task.x, task.y, train_points),
        "test": (task.x_test, task.y_test, test_points),
    }

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        with torch.no_grad():
            forward, params = prepared(model, snapshot.params)
        columns = {}
        for part, (x, y, points) in sets.items():
            examples = _of_members(len(snapshot.log_risk), x, y, points)
            for name, attacker in attackers.items():
                q = _margins(forward, params, *examples, attacker)
                columns[f"{part}_{name}_loss"] = softplus(-q).mean(-1)
                columns[f"{part}_{name}_accuracy"] = (q > 0).double().mean(-1)
            if released_batch is not None:
                columns[f"{part}_released_risk"] = _released_risk(forward, params, *examples, eps, box, released_batch)
        for name in attackers:
            columns[f"gap_{name}_loss"] = columns[f"test_{name}_loss"] - columns[f"train_{name}_loss"]
            columns[f"gap_{name}_accuracy"] = columns[f"train_{name}_accuracy"] - columns[f"test_{name}_accuracy"]
        if released_batch is not None:
            columns["gap_released_risk"] = columns["test_released_risk"] - columns["train_released_risk"]
        return {name: values.cpu() for name, values in columns.items()}

    return measure


def accuracy(forward: Forward, params: Params, x: Tensor, y: Tensor, attacker: Attacker) -> Tensor:
    """Return the fraction ``[M]`` of the examples ``[M, N, ...]`` with a margin > 0 at attacked inputs."""
    return (_margins(forward, params, x, y, attacker) > 0).double().mean(-1)


def _attacker(name: str, eps: float, eps_l2: float, restarts: int | None, box: list[float] | None) -> Attacker:
    if name == "fgsm":
        return partial(fgsm, eps=eps, box=box)
    steps = 10 if name == "pgd10" else 40
    norm: Literal["l2", "linf"] = "l2" if name == "l2" else "linf"
    radius = eps_l2 if name == "l2" else eps

    def attacked(forward: Forward, params: Params, x: Tensor, y: Tensor) -> Tensor:
        # The same random starts for every member, so that results do not depend on the other members.
        seeds = None if restarts is None else [0] * len(y)
        step, starts = TRAVEL / steps, restarts or 1
        attack = pgd(
            forward, params, x, y, radius, steps=steps, step=step, norm=norm, seeds=seeds, restarts=starts, box=box
        )
        return x + attack.delta

    return attacked


def _of_members(members: int, x: Tensor, y: Tensor, points: int | None) -> tuple[Tensor, Tensor]:
    """Return the first ``points`` examples, ``[M, N, ...]`` and ``[M, N]``."""
    if y.ndim == 1:
        x, y = x.expand(members, *x.shape), y.expand(members, -1)
    return x[:, :points], y[:, :points]


def _margins(forward: Forward, params: Params, x: Tensor, y: Tensor, attacker: Attacker) -> Tensor:
    """Return y N(x') ``[M, N]`` in float64 at attacked inputs, ``CHUNK`` examples at a time."""
    margins = []
    for inputs, labels in zip(x.split(CHUNK, 1), y.split(CHUNK, 1), strict=True):
        attacked = attacker(forward, params, inputs, labels)
        with torch.no_grad():
            margins.append((labels * forward(params, attacked)).double())
    return torch.cat(margins, 1)


def _released_risk(
    forward: Forward, params: Params, x: Tensor, y: Tensor, eps: float, box: list[float] | None, batch: int
) -> Tensor:
    """Return (1/N) Σ ``[M]`` over batches of the mean saturating loss under FGSM on that loss."""
    risk = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for images, labels in zip(x.split(batch, 1), y.split(batch, 1), strict=True):

        def minus_loss(params: Params, inputs: Tensor, labels: Tensor = labels) -> Tensor:
            return -labels * log_saturating_loss(forward(params, inputs), labels).exp()

        attacked = fgsm(minus_loss, params, images, labels, eps, box=box)
        with torch.no_grad():
            risk = risk + log_saturating_loss(forward(params, attacked), labels).exp().double().mean(-1)
    return risk / y.shape[1]
