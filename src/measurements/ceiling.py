"""Radii against the ceiling √(d/2), to which no classifier of clusters with orthogonal means is robust."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from src.attacks.boundary import nearest_boundary
from src.constraints import Count, Natural
from src.errors import ConfigError
from src.measurements.robustness import class_sums, cluster_moves
from src.measurements.universal import quantile
from src.oracles.nearest_cluster import nearest_cluster_radius
from src.randomness import generator, normal
from src.types import Measurement, Model, Params, Snapshot, Task


def build(task: Task, model: Model, *, pairs: Count = 10, opposite_means: Natural = 3) -> Measurement:
    """Measure radii at pairs of points, one of each label, with equal noise, so that their distance is exactly √(2d).

    Columns: ``boundary_median``, ``boundary_min``: smallest perturbation found, 0 at a misclassified point.
    ``ceiling_error``: fraction of points with a radius of at most √(d/2), and ``ceiling_floor`` = min(k₊, k₋)/k, below
    which it cannot be for any classifier. ``nearest_median``, ``nearest_error``: the same of the nearest-cluster rule,
    in closed form. ``mean_cosine``: largest cosine of a neuron with a mean, ``class_cosine``: with the sum of the means
    of the label of its v; both are means over neurons, weighted by |vⱼ|‖wⱼ‖ (docs/bridges.md, B4).

    Raises:
        ConfigError: for data other than clusters with orthogonal means.
    """
    facts = task.facts
    if "means" not in facts or not _orthogonal(facts["means"]):
        raise ConfigError("measurements", "ceiling", "needs clusters with orthogonal means: data=clusters")
    means, labels = facts["means"].double(), facts["labels"].double()
    x, y, cluster = (torch.cat(parts, 1) for parts in zip(*_pairs(task, pairs), strict=True))
    partner = torch.cat([x[:, pairs:], x[:, :pairs]], 1)
    z = (labels[..., None] * means).sum(-2)
    starts = torch.cat([
        (partner - x)[:, :, None],
        -y[..., None, None] * z[:, None, None],
        cluster_moves(means, labels, x, y, cluster, opposite_means),
    ], 2)  # fmt: skip
    nearest = nearest_cluster_radius(x, y, means, labels)
    ceiling = math.sqrt(facts["d"] / 2) * (1 + 1e-6)
    floor = torch.minimum((labels > 0).sum(-1), (labels < 0).sum(-1)) / labels.shape[1]

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.detach().double() for name, leaf in snapshot.params.items()}

        def margin(delta: Tensor) -> Tensor:
            points = (x[:, :, None] + delta).flatten(1, 2)
            return y[..., None] * model.apply(params, points).unflatten(1, delta.shape[1:3])

        radius = nearest_boundary(margin, starts, reach=1.5 * math.sqrt(facts["d"])).radius
        mean_cosine, class_cosine = cosines(params, means, labels)
        columns = {
            "boundary_median": quantile(radius, 0.5),
            "boundary_min": quantile(radius, 0),
            "ceiling_error": (radius <= ceiling).double().mean(-1),
            "ceiling_floor": floor,
            "nearest_median": quantile(nearest, 0.5),
            "nearest_error": (nearest <= ceiling).double().mean(-1),
            "mean_cosine": mean_cosine,
            "class_cosine": class_cosine,
        }
        return {name: values.cpu() for name, values in columns.items()}

    return measure


def cosines(params: Params, means: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``mean_cosine`` and ``class_cosine`` ``[M]`` of a network with ``w [M, m, r]`` and ``v [M, m]``."""
    w, v = params["w"], params["v"]
    weight = v.abs() * torch.linalg.vector_norm(w, dim=-1)
    of_class = normalize(w, dim=-1) @ normalize(class_sums(means, labels), dim=-1).mT
    to_class = torch.where(v > 0, of_class[..., 1], of_class[..., 0])
    to_mean = (normalize(w, dim=-1) @ normalize(means, dim=-1).mT).amax(-1)
    return (weight * to_mean).sum(-1) / weight.sum(-1), (weight * to_class).sum(-1) / weight.sum(-1)


def _pairs(task: Task, pairs: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return points, labels and clusters of the label +1, then of −1, with the same noise: ``[M, pairs, …]`` each."""
    facts = task.facts
    means, labels = facts["means"].double(), facts["labels"].double()
    seeds = facts["seeds"].tolist()
    noise = torch.stack([normal(seed, "pairs", (pairs, means.shape[-1])) for seed in seeds]).to(means)
    of_labels = []
    for index, sign in enumerate((1.0, -1.0)):
        chosen = []
        for seed, label in zip(seeds, labels.cpu(), strict=True):
            clusters = (label == sign).nonzero().squeeze(-1)
            draw = torch.randint(len(clusters), (pairs,), generator=generator(seed, "pairs of", index))
            chosen.append(clusters[draw])
        cluster = torch.stack(chosen).to(means.device)
        at_means = means.gather(1, cluster[..., None].expand(-1, -1, means.shape[-1]))
        x = at_means + facts["sigma"] * noise
        of_labels.append((x, torch.full_like(x[..., 0], sign), cluster))
    return of_labels


def _orthogonal(means: Tensor) -> bool:
    gram = means @ means.mT
    return bool((gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))).abs().max() <= 1e-6 * gram.abs().max())
