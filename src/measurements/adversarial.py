"""Loss and accuracy at clean and attacked inputs, on training and test set, and the gaps between the two.

The attacks are on the margin, whatever the network was trained against, and no gradient is lost to a saturated loss.
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
TRAVEL = 2.5  # length of all steps of a PGD together, in units of ε


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
    """Columns ``train_A_loss``, ``train_A_accuracy`` and the same of ``test``, for A = clean and every attack.

    Losses are mean logistic losses, accuracies the shares of examples with a margin > 0. ``gap_A_loss`` is test − train
    and ``gap_A_accuracy`` train − test, so that both are positive where a network generalises badly.

    Args:
        task: its training and test set.
        model: any network.
        eps: radius of the ℓ∞ attacks: ``fgsm`` (one step of length ε), ``pgd10`` and ``pgd40`` (steps of 2.5/10 and
            2.5/40 ε, the best point met).
        eps_l2: radius of ``l2``, 40 steps in an ℓ2 ball.
        attacks: which of them.
        restarts: random starts of the attacks of many steps, the best for each example; null starts at x.
        box: lowest and highest value of an input, or null.
        train_points: only the first so many of the training set; null takes all.
        test_points: likewise of the test set.
        released_batch: also ``train_released_risk``, ``test_released_risk`` and ``gap_released_risk`` under FGSM as the
            released code of Wang et al. (2023) counts them: the means of batches of this size, summed and divided by
            the number of examples, of a loss that saturates, under an attack that sees that loss.

    Raises:
        ConfigError: for a box that is none.
    """
    if box is not None and (len(box) != 2 or not box[0] < box[1]):
        raise ConfigError("measurements.adversarial.box", box, "must be a lower and a higher number, or null")
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
    """Share of the examples ``[M, N, ...]`` with a margin > 0 at attacked inputs, ``[M]``."""
    return (_margins(forward, params, x, y, attacker) > 0).double().mean(-1)


def _attacker(name: str, eps: float, eps_l2: float, restarts: int | None, box: list[float] | None) -> Attacker:
    if name == "fgsm":
        return partial(fgsm, eps=eps, box=box)
    steps = 10 if name == "pgd10" else 40
    norm, radius = ("l2", eps_l2) if name == "l2" else ("linf", eps)

    def attacked(forward: Forward, params: Params, x: Tensor, y: Tensor) -> Tensor:
        # The same random starts for every member: what is measured of one does not depend on its company.
        starts = {} if restarts is None else {"seeds": [0] * len(y), "restarts": restarts}
        found = pgd(forward, params, x, y, radius, steps=steps, step=TRAVEL / steps, norm=norm, box=box, **starts)
        return x + found.delta

    return attacked


def _of_members(members: int, x: Tensor, y: Tensor, points: int | None) -> tuple[Tensor, Tensor]:
    """The first ``points`` examples, ``[M, N, ...]`` and ``[M, N]``."""
    if y.ndim == 1:
        x, y = x.expand(members, *x.shape), y.expand(members, -1)
    return x[:, :points], y[:, :points]


def _margins(forward: Forward, params: Params, x: Tensor, y: Tensor, attacker: Attacker) -> Tensor:
    """y N(x') ``[M, N]`` in float64 at attacked inputs, some examples at a time."""
    margins = []
    for some, labels in zip(x.split(CHUNK, 1), y.split(CHUNK, 1), strict=True):
        attacked = attacker(forward, params, some, labels)
        with torch.no_grad():
            margins.append((labels * forward(params, attacked)).double())
    return torch.cat(margins, 1)


def _released_risk(
    forward: Forward, params: Params, x: Tensor, y: Tensor, eps: float, box: list[float] | None, batch: int
) -> Tensor:
    """(1/N) Σ over batches of the mean saturating loss at inputs that FGSM on that loss has attacked, ``[M]``."""
    risk = 0.0
    for some, labels in zip(x.split(batch, 1), y.split(batch, 1), strict=True):

        def minus_loss(params: Params, inputs: Tensor, labels: Tensor = labels) -> Tensor:
            return -labels * log_saturating_loss(forward(params, inputs), labels).exp()

        attacked = fgsm(minus_loss, params, some, labels, eps, box=box)
        with torch.no_grad():
            risk = risk + log_saturating_loss(forward(params, attacked), labels).exp().double().mean(-1)
    return risk / y.shape[1]
