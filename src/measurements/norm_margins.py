"""Margins γ and KKT alignments κ of a network in several norms: of which norm did training maximise the margin?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from src.constraints import NonNegative, Positive, Within
from src.measurements.members import degree_of
from src.optimizers import norms as geometry
from src.optimizers.norms import Norm, Sigma
from src.optimizers.predicted import predicted
from src.types import Measurement, Model, Params, Snapshot, Task

Loss = Literal["logistic", "exponential"]
Exponent = Annotated[float, Within(1)]


def build(
    task: Task,
    model: Model,
    *,
    norms: list[Literal["l2", "linf", "msp", "hyb", "rows"]] = ["l2", "linf", "msp", "hyb"],  # noqa: B006 (read only)
    ratio: Positive = 1.0,
    ratios: list[Positive] = [],  # noqa: B006
    schatten: list[Exponent] = [],  # noqa: B006
    lp: list[Exponent] = [],  # noqa: B006
    near: NonNegative = 0.05,
    loss: Loss = "logistic",
    optimizer: dict | None = None,
) -> Measurement:
    """Measure, with q_i = y_i f(x_i) and the weights λ_i ∝ −ℓ'(q_i) of the gradient of the loss:

        γ = min_i q_i / ‖θ‖^L,    κ = ⟨g, θ⟩ / (‖g‖_* ‖θ‖)  with  g = Σ λ_i y_i ∇f(x_i).

    κ ≤ 1 in every norm (Hölder); κ = 1, with λ on the examples of least margin, is a KKT direction of the margin
    problem of that norm. Margins of different norms are not comparable in size, alignments are.

    Columns: ``gamma_<norm>`` and ``kappa_<norm>`` for each of ``norms``, and ``_own`` in the norm predicted for the
    ``optimizer``, if known; ``margin_weight``, the weight λ of the examples with q_i ≤ (1 + ``near``) q_min (NaN unless
    q_min > 0). For each list that is not empty, curves ``[M, K]``: ``hyb_ratio``, ``gamma_hyb_curve``,
    ``kappa_hyb_curve`` over ``ratios``, ``hyb_peak``, the ratio at which κ is largest, and ``hyb_peak_kappa``, that κ;
    likewise ``schatten_p``, ``gamma_schatten_curve``, … and ``lp_p``, ….

    Args:
        task: its training set.
        model: homogeneous of degree L.
        norms: names of ``norms.norm_from_name``.
        ratio: r of ``hyb``, max{r·msp(W), ‖u‖_∞}.
        ratios: r of the curve over hybrid norms.
        schatten: exponents of the curve over Schatten norms; ∞ is ``msp``.
        lp: exponents of the curve over entrywise norms; ∞ is ``linf``.
        near: relative distance above the least margin up to which examples are in ``margin_weight``.
        loss: ``exponential``, λ = softmax(−q), or ``logistic``, λ = softmax(−softplus(q)).
        optimizer: config node of the optimizer: its name, and ratio or p if its norm has one.

    Raises:
        ConfigError: for a network without a degree of homogeneity.
    """
    degree = degree_of(model, "a normalised margin needs a homogeneous network")

    def scalars(sigma: Sigma) -> dict[str, Norm]:
        by_name = {name: geometry.norm_from_name(name, ratio=ratio, sigma=sigma) for name in norms}
        predicted_norm = predicted(optimizer, sigma) if optimizer else None
        return by_name | ({"own": predicted_norm} if predicted_norm else {})

    def curves(sigma: Sigma) -> dict[str, tuple[str, list[float], Callable[[float], Norm]]]:
        return {
            "hyb": ("hyb_ratio", ratios, partial(geometry.hybrid, sigma=sigma)),
            "schatten": ("schatten_p", schatten, partial(geometry.schatten_p, sigma=sigma)),
            "lp": ("lp_p", lp, geometry.lp),
        }

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        params = snapshot.params
        q, weights, gradient = weighted_gradient(task, model, params, loss)
        q_min = q.amin(-1)
        inner = sum((gradient[name] * leaf).flatten(1).sum(1) for name, leaf in params.items())

        def measured(norm: Norm) -> tuple[Tensor, Tensor]:
            size = norm.value(params)
            return q_min / size**degree, inner / (norm.dual(gradient) * size)

        columns = {"margin_weight": _margin_weight(q, weights, near)}
        sigma = geometry.memoize()
        for name, norm in scalars(sigma).items():
            columns[f"gamma_{name}"], columns[f"kappa_{name}"] = measured(norm)
        for family, (axis, values, norm_of) in curves(sigma).items():
            if values:
                gammas, kappas = zip(*(measured(norm_of(value)) for value in values), strict=True)
                columns[axis] = torch.tensor(values, dtype=torch.float64).expand(len(q), -1)
                columns[f"gamma_{family}_curve"] = torch.stack(gammas, -1)
                columns[f"kappa_{family}_curve"] = alignments = torch.stack(kappas, -1)
                columns[f"{family}_peak"] = torch.tensor(values, dtype=torch.float64)[_first_peak(alignments).cpu()]
                columns[f"{family}_peak_kappa"] = alignments.amax(-1)
        return {name: column.cpu().double() for name, column in columns.items()}

    return measure


def weighted_gradient(
    task: Task, model: Model, params: Params, loss: Loss = "logistic"
) -> tuple[Tensor, Tensor, Params]:
    """Return q ``[M, N]``, λ_i ∝ −ℓ'(q_i) ``[M, N]`` with Σ λ_i = 1, and g = Σ λ_i y_i ∇f(x_i; θ)."""
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
    with torch.enable_grad():
        q = task.y * model.apply(leaves, task.x)
        exponents = q.detach() if loss == "exponential" else softplus(q.detach())  # −ℓ' = e^{−exponent}
        weights = torch.softmax(-exponents, -1)
        grads = torch.autograd.grad((weights * q).sum(), tuple(leaves.values()))
    return q.detach(), weights, dict(zip(leaves, grads, strict=True))


def _first_peak(curve: Tensor) -> Tensor:
    """Return the first index at which a curve ``[M, K]`` has its largest value, to rounding."""
    tie = 64 * torch.finfo(curve.dtype).eps
    largest = curve.amax(-1, keepdim=True)
    return (curve >= largest - tie * largest.abs()).to(torch.uint8).argmax(-1)


def _margin_weight(q: Tensor, weights: Tensor, near: float) -> Tensor:
    q_min = q.amin(-1, keepdim=True)
    near += 64 * torch.finfo(q.dtype).eps
    share = (weights * (q <= (1 + near) * q_min)).sum(-1)
    return torch.where(q_min.squeeze(-1) > 0, share, torch.nan)
