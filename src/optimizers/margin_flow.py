"""Gradient flow on log L, in steps that are rejected when the smoothed normalised margin falls.

Lyu and Li (2020) prove that along gradient flow on a homogeneous network the smoothed normalised margin
γ̃(θ) = −log Σ e^{−q_i} / ‖θ‖^L never falls once Σ e^{−q_i} < 1. This discretisation preserves that property. Steps
accepted by the loss alone do not: the loss then keeps falling while the margin oscillates below its optimum
(docs/paper1.md, trainer).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from src.constraints import Fraction, Positive
from src.errors import ConfigError
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-6}  # relative fall of the margin that rounding alone can cause

COMMUTES_WITH_ROTATIONS = True


def build(
    task: Task, model: Model, *, alpha: Positive = 0.5, rho: Fraction = 0.05, growth: Positive = 1.05
) -> UpdateRule:
    """Build θ ← θ + η g with g = −∇ log L and η = min(α / ‖g‖², ρ ‖θ‖/‖g‖), per member.

    Args:
        task: determines the number of training examples n.
        model: homogeneous of degree L.
        alpha: initial α: log L changes by about −α in a step. Every rejected step halves α; once Σ e^{−q_i} < 1, every
            accepted one multiplies it by ``growth``.
        rho: largest relative change ‖Δθ‖/‖θ‖ in one step, so that the early phase is close to gradient flow.
        growth: factor on α per accepted step.

    Raises:
        ConfigError: for a network without a degree of homogeneity.
    """
    if model.degree is None:
        raise ConfigError("optimizer.name", "margin_flow", "a normalised margin needs a homogeneous network")
    log_n, degree = math.log(task.y.shape[-1]), model.degree

    def init(params: Params) -> State:
        norm = _norm(params)
        return {
            "point": params,
            "grad": {name: torch.zeros_like(leaf) for name, leaf in params.items()},
            "alpha": torch.full_like(norm, alpha),
            "merit": torch.full_like(norm, -torch.inf),
            "rejected": torch.zeros_like(norm),
        }

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        # γ̃ = −log Σ e^{−q} / ‖θ‖^L once it is positive; before that, −log Σ e^{−q} itself
        neg_log_sum = -(log_risk + log_n)
        fitted = neg_log_sum > 0
        merit = torch.where(fitted, neg_log_sum / _norm(params) ** degree, neg_log_sum)
        accept = merit >= state["merit"] - _ROUNDING[merit.dtype] * state["merit"].abs()
        accept |= fitted & (state["merit"] < 0)

        point = _choose(accept, params, state["point"])
        ascent = _choose(accept, {name: -leaf for name, leaf in grad.direction.items()}, state["grad"])
        grown = torch.where(fitted, growth * state["alpha"], state["alpha"])
        size = torch.where(accept, grown, state["alpha"] / 2)

        norm, slope = _norm(point), _norm(ascent)
        # η = min(α/‖g‖², ρ‖θ‖/‖g‖)
        eta = torch.minimum(size / slope**2, rho * norm / slope).nan_to_num(posinf=0.0)
        trial = {name: torch.addcmul(leaf, _per_member(eta, leaf), ascent[name]) for name, leaf in point.items()}
        return trial, {
            "point": point,
            "grad": ascent,
            # Once fitted, α is at most what the capped step used, so that it does not grow while ρ limits the step.
            "alpha": torch.where(fitted, torch.minimum(size, eta * slope**2), size),
            "merit": torch.where(accept, merit, state["merit"]),
            "rejected": state["rejected"] + ~accept,
        }

    return UpdateRule(init, update, accepted_params=lambda params, state: state["point"])


def _norm(params: Params) -> Tensor:
    """Return ‖θ‖₂ ``[M]`` over all leaves."""
    return torch.stack([torch.linalg.vector_norm(leaf.flatten(1), dim=1) for leaf in params.values()]).norm(dim=0)


def _per_member(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (like.ndim - 1))


def _choose(mask: Tensor, new: Params, old: Params) -> Params:
    if mask.all():
        return new  # as at most steps, without a copy
    return {name: torch.where(_per_member(mask, leaf), leaf, old[name]) for name, leaf in new.items()}
