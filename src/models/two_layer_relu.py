"""N(x) = Σⱼ vⱼ·relu(wⱼ·x + bⱼ), 2-homogeneous, with all of (w, b, v) trained. Frei et al. (2023), Section 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from src.constraints import Count, Positive
from src.errors import ConfigError
from src.randomness import normal
from src.types import Model, Params, Task


def build(
    task: Task,
    *,
    width: Count = 64,
    init: Literal["balanced", "robust", "groups"] = "balanced",
    group: Count = 1,
    init_scale: Positive = 1e-6,
) -> Model:
    """Build the network with parameters ``w [M, width, r]``, ``b [M, width]``, ``v [M, width]``.

    Args:
        task: inputs ``[N, r]`` or ``[M, N, r]``; ``robust`` and ``groups`` use the facts ``means``, ``labels``, ``d``.
        width: number of neurons.
        init: ``balanced``: uniform directions within the span of the data, signs of v alternate;
            ``robust``, ``groups``: :func:`grouped_network` with biases −2 and 0; ``balanced`` on other neurons.
        group: clusters per neuron of ``robust`` and ``groups``; 1 with ``robust`` is the network of Theorem 4.1.
        init_scale: |vⱼ| = ‖(wⱼ, bⱼ)‖ of every randomly drawn neuron.

    Raises:
        ConfigError: for ``robust`` or ``groups`` with fewer neurons than groups or on a task without clusters.
    """
    start: Params = {}
    if init != "balanced":
        if "means" not in task.facts:
            raise ConfigError("model.init", init, "needs cluster means: data=clusters")
        means, labels, d = (task.facts[name] for name in ("means", "labels", "d"))
        start = balanced(grouped_network(means, labels, d, group, bias=-2 if init == "robust" else 0))
        if width < (least := start["v"].shape[1]):
            raise ConfigError("model.width", width, f"must be >= {least}, the groups of clusters of model.init={init}")
    basis = span_of_data(task)

    def draw(seeds: Sequence[int]) -> Params:
        params = {name: leaf.to(task.x) for name, leaf in small_balanced(seeds, width, basis, init_scale).items()}
        for name, leaf in start.items():
            params[name][:, : leaf.shape[1]] = leaf.to(task.x)
        return params

    return Model(draw, forward, degree=2)


def forward(params: Params, x: Tensor) -> Tensor:
    """Return outputs ``[M, N]`` at ``x [N, r]`` (shared by the members) or ``[M, N, r]``."""
    # N(x) = Σⱼ vⱼ·relu(wⱼ·x + bⱼ). With hidden as [M, m, N] the products are faster, and gradients of w are contiguous.
    hidden = torch.relu(params["w"] @ x.mT + params["b"].unsqueeze(-1))
    return (params["v"].unsqueeze(-2) @ hidden).squeeze(-2)


def neurons(params: Params, measurement: str = "neurons") -> tuple[Tensor, Tensor]:
    """Return (wⱼ, bⱼ) ``[M, m, r + 1]`` and vⱼ ``[M, m]``, or raise a ConfigError that names ``measurement``."""
    if params.keys() != {"w", "b", "v"}:
        raise ConfigError("measurements", measurement, "needs model=two_layer_relu")
    return torch.cat([params["w"], params["b"].unsqueeze(-1)], -1), params["v"]


def steepness(params: Params) -> Tensor:
    """Return Σⱼ |vⱼ|‖wⱼ‖ ``[M, 1]``, a Lipschitz constant of N."""
    return (params["v"].abs() * torch.linalg.vector_norm(params["w"], dim=-1)).sum(-1)[:, None]


def largest_output(params: Params, x: Tensor) -> Tensor:
    """Return Σⱼ |vⱼ|(‖wⱼ‖‖x‖ + |bⱼ|) ``[M, P]`` at ``x [M, P, r]``: a bound on |N(x)|, the scale of its rounding."""
    offset = (params["v"] * params["b"]).abs().sum(-1)[:, None]
    return steepness(params) * torch.linalg.vector_norm(x, dim=-1) + offset


def balanced(params: Params) -> Params:
    """Return the same function with |vⱼ| = ‖(wⱼ, bⱼ)‖, by positive homogeneity: (w, b, v) → (c·w, c·b, v/c)."""
    incoming, v = neurons(params)
    c = (v.abs() / torch.linalg.vector_norm(incoming, dim=-1)).sqrt()
    return {"w": c.unsqueeze(-1) * params["w"], "b": c * params["b"], "v": v / c}


def robust_network(means: Tensor, labels: Tensor, d: int) -> Params:
    """Return the robust network of Theorem 4.1, one neuron per cluster, for ``means [M, k, r]``, ``labels [M, k]``."""
    # wⱼ = 4μ⁽ʲ⁾/d,  bⱼ = −2,  vⱼ = y⁽ʲ⁾
    return grouped_network(means, labels, d, bias=-2)


def grouped_network(means: Tensor, labels: Tensor, d: int, group: int = 1, bias: float = 0) -> Params:
    """Return one neuron per ``group`` clusters of equal label, with output ±2 at orthogonal means ``[M, k, r]``.

    The last group of a label may be smaller. Members have the same ``labels [M, k]``.
    """
    groups = [part for sign in (1, -1) for part in (labels[0] == sign).nonzero().flatten().split(group)]
    # wⱼ = (2 − b) Σ_{q ∈ Gⱼ} μ⁽q⁾/d,  bⱼ = b,  vⱼ = y of the group
    w = torch.stack([(2 - bias) * means[:, part].sum(1) / d for part in groups], 1)
    v = torch.stack([labels[:, part[0]] for part in groups], 1)
    return {"w": w, "b": torch.full_like(v, bias), "v": v}


def span_of_data(task: Task) -> Tensor:
    """Return an orthonormal basis ``[..., r, s]`` of the span of the means and the training inputs.

    Gradient flow does not change weights outside of the span; they would add noise at test points.
    """
    points = torch.cat([task.facts["means"].to(task.x), task.x], -2) if "means" in task.facts else task.x
    if points.shape[-1] <= points.shape[-2]:
        return torch.eye(points.shape[-1], dtype=torch.float64)
    return torch.linalg.qr(points.double().cpu().mT).Q


def small_balanced(seeds: Sequence[int], width: int, basis: Tensor, scale: float) -> Params:
    """Draw neurons with |vⱼ| = ‖(wⱼ, bⱼ)‖ = ``scale``, directions uniform in the span of ``basis``, signs in turn."""
    size = basis.shape[-1]
    coordinates = torch.stack([normal(seed, "init", (width, size + 1)) for seed in seeds])
    coordinates *= scale / coordinates.norm(dim=-1, keepdim=True)
    signs = torch.ones(width, dtype=torch.float64)
    signs[1::2] = -1
    return {
        "w": coordinates[..., :size] @ basis.mT,
        "b": coordinates[..., size].clone(),
        "v": (scale * signs).repeat(len(seeds), 1),
    }
