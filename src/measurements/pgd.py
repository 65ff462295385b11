"""Flips by projected gradient descent on the trained network, compared with those by the universal vector z.

Where a network is flat, or its neurons of the other sign are off, the gradient is uninformative: PGD can fail where a
known direction succeeds. Columns are fractions of strict flips among the points classified correctly, ε is in units of
the oracle radius.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.attacks.attack import Attack
from src.attacks.pgd import margin_and_gradient, pgd
from src.attacks.ray import first_flip
from src.attacks.span import in_span
from src.constraints import Count, Positive
from src.errors import ConfigError
from src.measurements.points import correct_points
from src.measurements.universal import unit
from src.types import Measurement, Model, Snapshot, Task

EPS = 1.06
"""ε of the columns that are not curves, in units of the oracle radius."""


def build(
    task: Task,
    model: Model,
    *,
    points: Count = 100,
    restarts: Count = 10,
    travel: Positive = 2.5,
    curve: list[Positive] = (0.25, 0.5, 0.75, 0.9, 1.0, 1.06, 1.25, 1.5, 2.0),  # type: ignore[assignment]
) -> Measurement:
    """Measure flips by PGD within ℓ2 balls of R^d, for a two-layer ReLU network on clusters.

    Columns, at ε = 1.06: ``pgd40_flip`` (40 steps from one random start), ``pgd40_restarts_flip`` (``restarts`` of
    them, best for each point), ``pgd2000_flip`` (2000 steps from the point itself), ``pgd_z_flip`` (z of this norm),
    and ``pgd_zero_gradient``, the fraction of points for which PGD-40 ends at a gradient of exactly 0. Curves over
    ``pgd_curve_eps``: ``pgd40_curve``, ``pgd_restarts_curve``, ``z_curve``.

    Args:
        task: clusters. Random starts are uniform in the ball of R^d also if the coordinates are reduced.
        model: a two-layer ReLU network.
        points: test points per member, the first that it classifies correctly.
        restarts: random starts per point.
        travel: total length of the steps in units of ε.
        curve: the ε of the curves.

    Raises:
        ConfigError: for data without cluster means.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements", "pgd", "needs cluster means: data=clusters")
    means, labels, oracle = (task.facts[name].double() for name in ("means", "labels", "radius_oracle"))
    z = unit((labels[..., None] * means).sum(-2))
    seeds = task.facts["seeds"].tolist()

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.double() for name, leaf in snapshot.params.items()}
        x, y, _, right = correct_points(task, model, snapshot.params, points)
        x, y = x.double(), y.double()
        z_radius = first_flip(params, x, y, -y[..., None, None] * z[:, None, None]).squeeze(-1)
        params, x, _ = in_span(params, x)  # fewer coordinates, same attack

        def attacked(eps: float, steps: int, seeds: Sequence[int] | None = None, restarts: int = 1) -> Attack:
            size, step, d = eps * oracle[:, None], travel / steps, task.facts["d"]
            return pgd(
                model.apply, params, x, y, size, steps=steps, step=step, seeds=seeds, restarts=restarts, ambient=d
            )

        def fraction(flipped: Tensor) -> Tensor:
            return (flipped & right).sum(-1).double() / right.sum(-1)

        def flips(eps: float, one: Attack) -> dict[str, Tensor]:
            return {
                "pgd40": fraction(one.success),
                "pgd_restarts": fraction(attacked(eps, 40, seeds=seeds, restarts=restarts).success),
                "z": fraction(z_radius <= eps * oracle[:, None]),
            }

        one = attacked(EPS, 40, seeds=seeds)
        _, gradient = margin_and_gradient(model.apply, params, x + one.delta, y)
        at_eps = flips(EPS, one)
        curves = [at_eps if eps == EPS else flips(eps, attacked(eps, 40, seeds=seeds)) for eps in curve]
        columns = {
            "pgd40_flip": at_eps["pgd40"],
            "pgd40_restarts_flip": at_eps["pgd_restarts"],
            "pgd2000_flip": fraction(attacked(EPS, 2000).success),
            "pgd_z_flip": at_eps["z"],
            "pgd_zero_gradient": fraction((gradient == 0).all(-1)),
            "pgd_curve_eps": torch.tensor(curve, dtype=torch.float64).expand(len(x), -1),
            "pgd40_curve": torch.stack([flipped["pgd40"] for flipped in curves], -1),
            "pgd_restarts_curve": torch.stack([flipped["pgd_restarts"] for flipped in curves], -1),
            "z_curve": torch.stack([flipped["z"] for flipped in curves], -1),
        }
        return {name: values.cpu() for name, values in columns.items()}

    return measure
