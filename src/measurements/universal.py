"""The universal perturbation of Theorem 4.2: one vector z = η Σ_q y⁽q⁾μ⁽q⁾ with sign N(x − y z) ≠ sign N(x) for all x.

How long must z be? Every point's flip radius along z is found exactly; vectors of the same length but another
direction serve as controls. Points that are misclassified to begin with are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.attacks.ball import unit_vectors
from src.attacks.ray import first_flip
from src.constraints import Count
from src.data import clusters
from src.errors import ConfigError
from src.models.two_layer_relu import largest_output, steepness
from src.randomness import permutation
from src.types import Measurement, Model, Params, Snapshot, Task

GRID = (*(i / 10 for i in range(8)), *(0.8 + i / 50 for i in range(21)), *(1.2 + i / 10 for i in range(1, 9)))
"""Norms of z, in units of the oracle, at which the flip curve is evaluated; denser where it rises."""

CONTROL = 1.15
"""Norm of z and of its controls in units of the oracle."""

_ROUNDING = 1e-15  # of an output, in units of the largest it could be
_ELEMENTS = 2**22  # pre-activations held in memory at a time


def build(task: Task, model: Model, *, points: Count | None = None, controls: Count = 5) -> Measurement:
    """How many points one vector flips, for a two-layer ReLU network on clusters.

    Columns: ``z_r50``, ``z_r99``: the norm of z that flips 50 and 99 % of the points, strictly (y N < 0), and
    ``z_r50_weak``, ``z_r99_weak`` (y N ≤ 0); infinite where no norm does. ``z_monotone``: 1 if no longer z on the grid
    flips fewer points. ``z_flip``, ``z_flip_106``: shares flipped at 1.15 and 1.06 times the oracle ``radius_oracle``.
    ``shuffled_flip``, ``pair_flip``, ``gaussian_flip``: mean share flipped by the controls, of norm 1.15.
    ``z_points``: points looked at. ``curve_flip``: shares flipped at ``curve_radius``, in units of the oracle.

    Args:
        task: clusters; its test points are used unless ``points`` is given.
        model: used for nothing but its outputs' signs at the points.
        points: this many fresh points per member instead, the same ones at every snapshot.
        controls: vectors of each kind of control.

    Raises:
        ConfigError: for data without cluster means.
    """
    if "means" not in task.facts:
        raise ConfigError("measurements", "universal", "needs cluster means: data=clusters")
    x, y = (task.x_test, task.y_test) if points is None else clusters.draw(task.facts, points, "universal")[:2]
    x = x.double()
    means, labels, oracle = (task.facts[name].double() for name in ("means", "labels", "radius_oracle"))
    z = unit((labels[..., None] * means).sum(-2))[:, None]
    kinds = control_vectors(means, labels, task.facts["d"], task.facts["seeds"].tolist(), controls)
    lengths = torch.tensor([*GRID, CONTROL, 1.06], dtype=torch.float64).to(z.device)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = {name: leaf.double() for name, leaf in snapshot.params.items()}
        right = y * model.apply(params, x) > 0
        columns = {"z_points": right.sum(-1)}
        for name, strict in {"": True, "_weak": False}.items():
            radius = first_flip(params, x, y, -y[..., None, None] * z[:, None], strict=strict).squeeze(-1)
            for percent in (50, 99):
                columns[f"z_r{percent}{name}"] = quantile(torch.where(right, radius, torch.nan), percent / 100)

        flips = flip_shares(params, x, y, right, oracle[:, None, None] * lengths[:, None] * z)
        curve, columns["z_flip"], columns["z_flip_106"] = flips[:, :-2], flips[:, -2], flips[:, -1]
        columns |= {
            "curve_flip": curve,
            "curve_radius": lengths[:-2].expand_as(curve),
            "z_monotone": (curve.diff(dim=-1) >= 0).all(-1).long(),
        }
        for kind, vectors in kinds.items():
            shares = flip_shares(params, x, y, right, CONTROL * oracle[:, None, None] * vectors)
            columns[f"{kind}_flip"] = shares.mean(-1)
        return {name: values.cpu() for name, values in columns.items()}

    return measure


def flip_shares(params: Params, x: Tensor, y: Tensor, right: Tensor, vectors: Tensor) -> Tensor:
    """Share of the ``right`` points with y N(x − y u) < 0, for each of S vectors u ``[M, S, r]``: ``[M, S]``.

    Where neurons cancel, an output of 0 is rounded to either sign: as such it is no flip.
    """
    w, b, v = params["w"], params["b"], params["v"]
    members, width = b.shape
    size, reach = largest_output(params, x), steepness(params) * torch.linalg.vector_norm(vectors, dim=-1)
    flipped = torch.zeros(vectors.shape[:2], dtype=torch.int64, device=x.device)
    for part in torch.arange(y.shape[1], device=x.device).split(max(1, _ELEMENTS // (members * width))):
        pre, sign = x[:, part] @ w.mT + b[:, None], y[:, part]
        for i, slope in enumerate((vectors @ w.mT).unbind(1)):
            # w·(x − y u) + b = p − y (w·u)
            hidden = torch.relu(pre - sign[..., None] * slope[:, None])
            margin = sign * (hidden @ v[..., None]).squeeze(-1)
            rounding = _ROUNDING * (size[:, part] + reach[:, i, None])
            flipped[:, i] += ((margin < -rounding) & right[:, part]).sum(-1)
    return flipped.double() / right.sum(-1, keepdim=True)


def control_vectors(means: Tensor, labels: Tensor, d: int, seeds: Sequence[int], count: int) -> dict[str, Tensor]:
    """Unit vectors ``[M, count, r]`` that should flip nothing; a Gaussian one is shorter by its part outside.

    ``shuffled``: Σ_q s_q μ⁽q⁾ where every second cluster of each class, at random, has the wrong sign. ``pair``:
    μ⁽p⁾ − μ⁽q⁾ of two random clusters with labels +1 and −1. ``gaussian``: a random direction of R^d.
    """
    shuffled, pair, gaussian = [], [], []
    for member, seed in enumerate(seeds):
        mu, label = means[member], labels[member].cpu()
        signs, two = label.repeat(count, 1), torch.zeros(count, len(label)).to(label)
        for i in range(count):
            order = permutation(seed, "controls", len(label), i)
            for sign in (1, -1):
                group = order[label[order] == sign]
                signs[i, group[::2]] *= -1
                two[i, group[0]] = sign
        shuffled.append(signs.to(mu) @ mu)
        pair.append(two.to(mu) @ mu)
        gaussian.append(unit_vectors(seed, "controls", count, mu.shape[-1], d)[0].to(mu))
    return {
        "shuffled": unit(torch.stack(shuffled)),
        "pair": unit(torch.stack(pair)),
        "gaussian": torch.stack(gaussian),
    }


def quantile(values: Tensor, share: float) -> Tensor:
    """The smallest number that at least ``share`` of the values ``[M, N]`` do not exceed; 0 gives the minimum.

    NaN values do not count; NaN where there are no others.
    """
    ordered, counts = values.sort(-1).values, (~values.isnan()).sum(-1)  # NaN last
    # counts·share may be above an integer by rounding
    rank = (counts * share - 1e-9).ceil().long() - 1
    return ordered.gather(1, rank.clamp(min=0)[:, None]).squeeze(1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors over their length."""
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
