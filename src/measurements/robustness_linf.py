"""Robust ℓ∞ radii of a two-layer ReLU network, bounded from below by a certificate and from above by attacks.

They depend on the frame of the inputs, so the data need full coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from src.attacks.minimal import minimal_attack
from src.attacks.ray import first_flip
from src.constraints import Count, Natural
from src.errors import ConfigError
from src.measurements import robustness
from src.measurements.certificate import certified_radius_linf
from src.measurements.points import correct_points
from src.measurements.universal import quantile
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model, *, points: Count = 20, opposite_means: Natural = 4, keep: Count = 3) -> Measurement:
    """Measure ℓ∞ radii at the first ``points`` correctly classified test points of a two-layer ReLU network.

    Columns: those of ``robustness.summary`` with the prefix ``linf_``, such as ``linf_attack_median``;
    ``linf_universal_median``, the median radius along −y·sign(Σ_j v_j w_j), one direction for all points of a network;
    ``linf_z_median``, that along −y·sign(z).

    Args:
        task: clusters in full coordinates.
        model: its outputs decide which points are correct.
        points: test points per member.
        opposite_means: number of starts towards means of the other label, the nearest ones.
        keep: number of starts used for each point.

    Raises:
        ConfigError: for data without cluster means or in reduced coordinates.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements", "robustness_linf", "needs cluster means: data=clusters")
    if task.x.shape[-1] != task.facts["d"]:
        raise ConfigError("measurements", "robustness_linf", "needs data.coordinates=full, as ℓ∞ depends on the frame")
    means, labels = task.facts["means"].double(), task.facts["labels"].double()
    z = (labels[..., None] * means).sum(-2).sign()

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.double() for name, leaf in snapshot.params.items()}
        x, y, index, right = correct_points(task, model, snapshot.params, points)
        x, y, cluster = x.double(), y.double(), task.facts["cluster_test"].gather(1, index)
        universal = (params["v"][..., None] * params["w"]).sum(1).sign()
        along = -y[..., None, None] * torch.stack([universal, z], 1)[:, None]
        moves = robustness.cluster_moves(means, labels, x, y, cluster, opposite_means).sign()
        attack = minimal_attack(params, x, y, torch.cat([along, moves], 2), keep=keep, norm="linf")
        flips = first_flip(params, x, y, along)
        radii = [attack.radius, certified_radius_linf(params, x, y), *flips.unbind(-1)]
        found, certificate, along_own, along_z = (torch.where(right, kind, torch.nan) for kind in radii)
        columns = {f"linf_{name}": values for name, values in robustness.summary(found, certificate).items()}
        columns |= {"linf_universal_median": quantile(along_own, 0.5), "linf_z_median": quantile(along_z, 0.5)}
        return {name: values.cpu() for name, values in columns.items()}

    return measure
