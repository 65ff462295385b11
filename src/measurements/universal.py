"""The universal perturbation of Theorem 4.2: one vector z = η Σ_q y⁽q⁾μ⁽q⁾ with sign N(x − y z) ≠ sign N(x) for all x.

The flip radius along z is computed exactly for every point that is classified correctly. Vectors of the same length and
another direction are negative controls.
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

_ROUNDING = 1e-15  # rounding error of an output, in units of its upper bound
_ELEMENTS = 2**22  # most pre-activations in memory at a time


def build(task: Task, model: Model, *, points: Count | None = None, controls: Count = 5) -> Measurement:
    """Measure the fraction of points flipped by one vector, for a two-layer ReLU network on clusters.

    Columns: ``z_r50``, ``z_r99``: the norm of z that flips 50 and 99 % of the points, strictly (y N < 0), and
    ``z_r50_weak``, ``z_r99_weak`` (y N ≤ 0); infinite where no norm does. ``z_monotone``: 1 if the fraction flipped
    does not fall with the norm on the grid. ``z_flip``, ``z_flip_106``: fraction flipped at 1.15 and 1.06 times
    ``radius_oracle``. ``shuffled_flip``, ``pair_flip``, ``gaussian_flip``: mean fraction flipped by the controls, of
    norm 1.15. ``z_points``: number of points. ``curve_flip``: fraction at ``curve_radius``, in units of the oracle.

    Args:
        task: clusters; its test set is used if ``points`` is null.
        model: its outputs decide which points are correct.
        points: number of fresh points per member, the same at every snapshot.
        controls: number of vectors of each kind of control.

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
    """Return the fraction ``[M, S]`` of ``right`` points with y N(x − y u) < 0, for S vectors u ``[M, S, r]``.

    Where neurons cancel, rounding gives an output of 0 either sign; this does not count as a flip.
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
    """Draw unit vectors ``[M, count, r]`` that should flip no point.

    ``shuffled``: Σ_q s_q μ⁽q⁾ where half of the clusters of each class, at random, have the wrong sign. ``pair``:
    μ⁽p⁾ − μ⁽q⁾ of two random clusters with labels +1 and −1. ``gaussian``: a random unit vector of R^d, projected.
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
    """Return the smallest value with at least a fraction ``share`` of the values ``[M, N]`` at or below it.

    0 gives the minimum. NaN values are ignored; the result is NaN if there are no others.
    """
    ordered, counts = values.sort(-1).values, (~values.isnan()).sum(-1)  # NaN last
    # counts·share may be above an integer by rounding
    rank = (counts * share - 1e-9).ceil().long() - 1
    return ordered.gather(1, rank.clamp(min=0)[:, None]).squeeze(1)


def unit(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1."""
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
