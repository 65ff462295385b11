"""Steepest descent with momentum in a chosen norm:

    m ← β m + (1−β) g,    θ ← θ − η_t u,    u = argmax_{‖u‖=1} ⟨u, m⟩

(Gronich and Vardi, 2026, momentum steepest descent; Tsilivis et al., 2024, without momentum.) NGD, NMD, SignGD,
Signum and Muon are this rule in a fixed norm, each in the file of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from torch import Tensor

from src.constraints import Fraction, NonNegative, Positive, Within
from src.optimizers import norms
from src.optimizers.log_scaled import ema, zero_nonfinite, zeros
from src.optimizers.norms import Norm
from src.optimizers.rotations import INVARIANT
from src.optimizers.schedule import Rate, Schedule, descend, first_step, power_law, scaled
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule


def commutes_with_rotations(optimizer: Mapping[str, object], layers: int) -> bool:
    """Return whether the norm is invariant."""
    return optimizer.get("norm") in INVARIANT or (optimizer.get("norm"), optimizer.get("p")) == ("lp", 2)


def build(
    task: Task,
    model: Model,
    *,
    norm: Literal["l2", "linf", "msp", "rows", "lp", "schatten"] = "schatten",
    p: Annotated[float, Within(1)] = 4.0,
    lr: Rate = 1.0,
    rank: Positive | None = None,
    momentum: Fraction = 0.9,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build steepest descent in ``norm``.

    Args:
        task: not used.
        model: its degree L determines the allowed range of ``exponent``.
        norm: ``lp`` is ℓp of all parameters, ``schatten`` is ℓp of all singular values of all layers, ``rows`` the
            largest ℓ2 norm of a row, ``msp`` the largest spectral norm of a layer.
        p: exponent of ``lp`` and ``schatten``; p = 1 changes the largest entry or singular direction only.
        lr: η0, in units of ``norm``; one number, or one for each seed.
        rank: n in η0 = n^(1/p) ``lr``: a step with n equal singular values σ has Schatten-p norm n^(1/p) σ, so that
            ``lr`` is its spectral norm for every p. Null: η0 = ``lr``.
        momentum: β.
        exponent: a in η_t = η0 ((t + t0)/t0)^{−a}.
        t0: shift of the schedule, in steps.
    """
    rate = power_law(lr if rank is None else scaled(lr, rank ** (1 / p)), exponent=exponent, t0=t0, degree=model.degree)
    return steepest_descent(norms.norm_from_name(norm, p=p), rate, momentum=momentum)


def steepest_descent(norm: Norm, rate: Schedule, *, momentum: float, nesterov: bool = False) -> UpdateRule:
    """Build θ ← θ − η_t u with u the steepest direction in ``norm`` of m, or of β m + (1−β) g with ``nesterov``.

    The steps are invariant to a factor on all gradients, also where these would underflow, as m is log-scaled.
    """

    def init(params: Params) -> State:
        return {"step": first_step(params, rate), "momentum": zeros(params)}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        grad = zero_nonfinite(grad)
        m = ema(state["momentum"], grad, momentum)
        ahead = ema(m, grad, momentum) if nesterov else m
        params = descend(params, norm.steepest(ahead["direction"]), rate(state["step"]))
        return params, {"step": state["step"] + 1, "momentum": m}

    return UpdateRule(init, update, rate=rate)
