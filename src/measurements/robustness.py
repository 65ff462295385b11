"""Robust radii of a two-layer ReLU network, bounded from below by a certificate and from above by attacks.

For every point: certificate ≤ smallest attack found ≤ radius along the universal z. Violations of both inequalities are
counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.attacks.minimal import minimal_attack
from src.attacks.pgd import margin_and_gradient
from src.attacks.ray import first_flip
from src.constraints import Count, Natural
from src.errors import ConfigError
from src.measurements.certificate import certified_radius
from src.measurements.points import correct_points
from src.measurements.universal import quantile, unit
from src.randomness import normal
from src.types import Measurement, Model, Params, Snapshot, Task

_ELEMENTS = 2**24  # most coordinates of starting directions in memory at a time
_SLACK = 1 + 1e-6  # an inequality counts as violated beyond this factor, so that rounding does not


def build(
    task: Task, model: Model, *, points: Count = 100, opposite_means: Natural = 16, random_starts: Natural = 4
) -> Measurement:
    """Measure radii at the first ``points`` correctly classified test points, of a two-layer ReLU network on clusters.

    Columns: ``attack_median``, ``attack_min`` over the points; ``attack_unflipped``: points at which no attack
    succeeded (their radius is infinite). ``z_point_median``: radius along z. ``certificate_median``,
    ``certificate_min``; ``certificate_over_attack`` (median) and ``certificate_over_attack_worst`` (minimum).
    ``certificate_violations``: points with certificate > attack; ``attack_above_z``: points with attack > radius
    along z. ``zero_gradient``: fraction of points at which the gradient in x is exactly 0. ``attack_radii``,
    ``certificate_radii``, ``z_radii`` ``[M, P]``: all of them, NaN for a point that is not classified correctly.

    Args:
        task: clusters.
        model: its outputs decide which points are correct.
        points: test points per member.
        opposite_means: number of starts towards means of the other label, the nearest ones.
        random_starts: number of starts in a random direction of the span.

    Raises:
        ConfigError: for data without cluster means.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements", "robustness", "needs cluster means: data=clusters")
    means, labels = task.facts["means"].double(), task.facts["labels"].double()
    z = unit((labels[..., None] * means).sum(-2))
    members, r = z.shape
    seeds = task.facts["seeds"].tolist()
    random = torch.stack([normal(seed, "attack starts", (random_starts, r)) for seed in seeds]).to(z)

    def radii(params: Params, x: Tensor, y: Tensor, cluster: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return attack, certificate and radius along z, each ``[M, P]``."""
        along_z = (-y[..., None] * z[:, None])[:, :, None]
        directions = torch.cat([along_z, cluster_moves(means, labels, x, y, cluster, opposite_means)], 2)
        directions = torch.cat([directions, random[:, None].expand(-1, x.shape[1], -1, -1)], 2)
        attack = minimal_attack(params, x, y, directions)
        return attack.radius, certified_radius(params, x, y), first_flip(params, x, y, along_z).squeeze(-1)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.double() for name, leaf in snapshot.params.items()}
        x, y, index, right = correct_points(task, model, snapshot.params, points)
        x, y, cluster = x.double(), y.double(), task.facts["cluster_test"].gather(1, index)
        size = max(1, _ELEMENTS // (members * r * (3 + opposite_means + random_starts)))
        parts = torch.arange(y.shape[1], device=y.device).split(size)
        chunks = [radii(params, x[:, part], y[:, part], cluster[:, part]) for part in parts]
        attack, certificate, along_z = (
            torch.where(right, torch.cat(kind, 1), torch.nan) for kind in zip(*chunks, strict=True)
        )
        _, gradient = margin_and_gradient(model.apply, params, x, y)
        flat = (gradient == 0).all(-1) & right
        columns = {**summary(attack, certificate), "z_point_median": quantile(along_z, 0.5), "z_radii": along_z}
        columns["attack_above_z"] = (attack > along_z * _SLACK).sum(-1)
        columns["zero_gradient"] = flat.sum(-1).double() / right.sum(-1)
        return {name: values.cpu() for name, values in columns.items()}

    return measure


def summary(attack: Tensor, certificate: Tensor) -> dict[str, Tensor]:
    """Return the columns of attacks and certificates ``[M, P]``, which are NaN for points that do not count."""
    ratio = torch.where(attack.isfinite(), certificate / attack, torch.nan)
    return {
        "attack_median": quantile(attack, 0.5),
        "attack_min": quantile(attack, 0),
        "attack_unflipped": attack.isinf().sum(-1),
        "certificate_median": quantile(certificate, 0.5),
        "certificate_min": quantile(certificate, 0),
        "certificate_over_attack": quantile(ratio, 0.5),
        "certificate_over_attack_worst": quantile(ratio, 0),
        "certificate_violations": (certificate > attack * _SLACK).sum(-1),
        "attack_radii": attack,
        "certificate_radii": certificate,
    }


def class_sums(means: Tensor, labels: Tensor) -> Tensor:
    """Return the sums ``[M, 2, r]`` of the means ``[M, k, r]`` of the labels −1 and +1."""
    return torch.stack([((labels == sign)[..., None] * means).sum(-2) for sign in (-1.0, 1.0)], 1)


def cluster_moves(means: Tensor, labels: Tensor, x: Tensor, y: Tensor, cluster: Tensor, nearest: int) -> Tensor:
    """Return directions ``[M, P, 1 + nearest, r]`` for points x with labels y and clusters.

    The first is minus the sum of the means of the class of x, as of a gradient attack. The others lead from the mean of
    its cluster to the nearest ones of the other class, the best against the robust network.
    """
    classes = class_sums(means, labels)
    own_class = torch.where(y[..., None] > 0, classes[:, 1:], classes[:, :1])
    similarity = (x @ means.mT).masked_fill(labels[:, None] == y[..., None], -torch.inf)
    other = similarity.topk(min(nearest, means.shape[1]), -1).indices
    own_mean = means.gather(1, cluster[..., None].expand_as(x))
    opposite = means.gather(1, other.flatten(1)[..., None].expand(-1, -1, x.shape[-1])).unflatten(1, other.shape[1:])
    return torch.cat([-own_class[:, :, None], opposite - own_mean[:, :, None]], 2)
