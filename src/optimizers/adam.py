"""Adam, exact at any loss: with ε = 0 its step depends on ratios of gradients only, and they are stored as ratios."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from src.constraints import Fraction, NonNegative, Positive
from src.optimizers.log_scaled import ema, per_member, rms_ema, zero_nonfinite, zeros
from src.optimizers.schedule import Rate, Schedule, descend, first_step, power_law
from src.types import Model, Params, ScaledGrad, State, Task, UpdateRule

COMMUTES_WITH_ROTATIONS = False


def build(
    task: Task,
    model: Model,
    *,
    lr: Rate = 0.07,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: NonNegative = 0.0,
    bias_correction: bool = True,
    exponent: NonNegative = 0.8,
    t0: Positive = 1.0,
) -> UpdateRule:
    """Build θ ← θ − η_t m̂/(√v̂ + ε), with a zero step where v = 0 and ε = 0.

    Args:
        task: not used.
        model: its degree determines the allowed range of ``exponent``.
        lr: η0.
        beta1: β1 in m ← β1 m + (1−β1) g; the theorem needs β1 <= β2.
        beta2: β2 in v ← β2 v + (1−β2) g².
        epsilon: ε, in units of the gradient of the risk; the theorem has 0.
        bias_correction: m̂ = m/(1−β1^t), v̂ = v/(1−β2^t); else m̂ = m, v̂ = v.
        exponent: a in η_t = η0 ((t + t0)/t0)^{−a}.
        t0: shift of the schedule, in steps.
    """
    rate = power_law(lr, exponent=exponent, t0=t0, degree=model.degree)
    return adam(rate, beta1=beta1, beta2=beta2, epsilon=epsilon, bias_correction=bias_correction)


def adam(
    rate: Schedule,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    bias_correction: bool = True,
    weight_decay: float = 0.0,
) -> UpdateRule:
    """Build Adam; with ``weight_decay`` λ also θ ← θ − η_t λ θ, as in AdamW."""
    log_epsilon = math.log(epsilon) if epsilon > 0 else -math.inf

    def init(params: Params) -> State:
        return {"step": first_step(params, rate), "m": zeros(params), "root_v": zeros(params)}

    def update(params: Params, state: State, log_risk: Tensor, grad: ScaledGrad) -> tuple[Params, State]:
        grad = zero_nonfinite(grad)
        m = ema(state["m"], grad, beta1)
        root_v = rms_ema(state["root_v"], grad, beta2)

        t = state["step"].double() + 1
        m_correction = 1 - beta1**t if bias_correction else torch.ones_like(t)
        v_correction = 1 - beta2**t if bias_correction else torch.ones_like(t)
        # m̂/(√v̂ + ε) = (m √(1−β2^t)/(1−β1^t)) / (√v + ε √(1−β2^t)), all in units of the log-scale of √v
        no_gradient_yet = m["log_scale"].isneginf()
        log_ratio = torch.where(no_gradient_yet, 0, m["log_scale"] - root_v["log_scale"])
        scale = log_ratio.exp() * v_correction.sqrt() / m_correction
        floor = (log_epsilon - root_v["log_scale"]).exp() * v_correction.sqrt()

        step = {}
        for name, leaf in params.items():
            size = root_v["direction"][name]
            if epsilon > 0:
                size = size + per_member(floor, leaf)
            # Where v is 0, so is m: 0 over the smallest positive number is 0, where 0/0 is NaN.
            size = size.clamp(min=torch.finfo(size.dtype).tiny)
            step[name] = (per_member(scale, leaf) * m["direction"][name]).div_(size)
            if weight_decay > 0:
                step[name] += weight_decay * leaf
        params = descend(params, step, rate(state["step"]))
        return params, {"step": state["step"] + 1, "m": m, "root_v": root_v}

    return UpdateRule(init, update, rate=rate)
