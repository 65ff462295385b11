"""The logarithms of risks: log L and ∇ log L do not underflow at losses where L and ∇L are exactly zero.

An objective maps ``(params, batch)`` to ``(log_risk [M], ScaledGrad)`` with ∇L = e^{log L}·∇ log L. The risk is the
mean over the batch, or the sum with ``reduction=sum``. q_i = y_i N(x_i; θ) is the margin of example i, ``[M, N]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, softplus

from src.attacks.bim import bim
from src.constraints import Count, NonNegative, Positive, Share
from src.errors import ConfigError
from src.tensors import spectra
from src.tensors.network import TensorNetwork, prepared
from src.types import Batch, Model, Objective, Params, ScaledGrad, Task

_EXACT_TAIL = 30.0  # log(softplus(−q)) = −q to 1e-13 relative for q beyond this

Forward = Callable[[Params, Tensor], Tensor]
LogLosses = Callable[[Forward, Params, Batch], Tensor]
"""The logarithm of every example's loss, ``[M, N]``."""


def log_logistic_loss(q: Tensor) -> Tensor:
    """Return log log(1 + e^{−q}), finite for every q: beyond q = 30 it is −q to the last digit of float64."""
    return _log_logistic(q)[0]


def log_logistic_and_slope(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return log ℓ and its derivative −σ(−q)/ℓ for ℓ = log(1 + e^{−q}), where σ(−q) = 1 − e^{−ℓ}."""
    log_loss, loss = _log_logistic(q)
    return log_loss, torch.expm1(-loss).div_(loss)


def _log_logistic(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return log ℓ, and ℓ itself at min(q, 30)."""
    loss = softplus(-q.clamp(max=_EXACT_TAIL))
    return torch.where(q > _EXACT_TAIL, -q, loss.log()), loss


def log_saturating_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the log of the loss in the released code of Wang et al. (2023), of a sigmoid in single precision.

    Beyond an output of about 17 the sigmoid is exactly 1: the loss is 0 for y = 1 and 100 for y = −1, and both
    gradients are exactly 0. A loss of 0 is replaced by the smallest positive number.
    """
    sigmoid = torch.sigmoid(outputs.float())
    loss = binary_cross_entropy(sigmoid, ((y.float() + 1) / 2).expand_as(sigmoid), reduction="none")
    return loss.clamp(min=torch.finfo(torch.float32).tiny).to(outputs).log()


Reduction = Literal["mean", "sum"]
"""How the losses of the examples are combined. ∇ log L is the same for both."""


def exponential(task: Task, model: Model, *, reduction: Reduction = "mean") -> Objective:
    """Build L = (1/N) Σ e^{−q_i}, or Σ e^{−q_i}; −∇ log L = Σ p_i y_i ∇N(x_i) with p = softmax(−q)."""
    return _risk_of_margins(model, lambda q: (-q, -1.0), reduction)


def logistic(task: Task, model: Model, *, reduction: Reduction = "mean") -> Objective:
    """Build L = (1/N) Σ log(1 + e^{−q_i}), or Σ log(1 + e^{−q_i})."""
    return _risk_of_margins(model, log_logistic_and_slope, reduction)


def squared(task: Task, model: Model, *, reduction: Reduction = "mean") -> Objective:
    """Build L = (1/N) Σ (1 − q_i)², or Σ (1 − q_i)²: a loss without a tail, whose minimum has every q_i = 1."""

    def log_loss_and_slope(q: Tensor) -> tuple[Tensor, Tensor]:
        residual = 1 - q
        residual = residual.where(residual != 0, torch.finfo(q.dtype).tiny)  # log 0 times 0 is NaN
        return 2 * residual.abs().log(), -2 / residual

    return _risk_of_margins(model, log_loss_and_slope, reduction)


def adversarial(
    task: Task,
    model: Model,
    *,
    eps: Share = 16 / 255,
    norm: Literal["linf", "l2"] = "linf",
    steps: Count = 1,
    step: Positive = 1.0,
    box: list[float] | None = [0.0, 1.0],  # noqa: B006 (read only)
    clean: NonNegative = 0.0,
    saturating: bool = False,
    tubal_nuclear: NonNegative = 0.0,
) -> Objective:
    """Build L = (1/N) Σ [ℓ(y_i N(x_i')) + clean·ℓ(y_i N(x_i))] + λ Σ_l ‖M(W^l)‖_*, logistic ℓ, at attacked inputs x'.

    Args:
        task: its inputs must lie in the box.
        model: any network; a ``TensorNetwork`` for λ > 0.
        eps: radius of the ball of attacks.
        norm: norm of the ball.
        steps: steps of the attack from x; one step of length ε is FGSM, several are BIM.
        step: length of a step in units of eps.
        box: lowest and highest value of an input, or null.
        clean: weight of the clean risk; the released code of experiment A.1 has 1.
        saturating: use the loss of the released code (``log_saturating_loss``) in training and attack.
        tubal_nuclear: λ, the weight of the tubal nuclear norms of the layers.
    """
    box = _checked_box(task, box)

    def log_loss(outputs: Tensor, y: Tensor) -> Tensor:
        return log_saturating_loss(outputs, y) if saturating else log_logistic_loss(y * outputs)

    def log_losses(forward: Forward, params: Params, batch: Batch) -> Tensor:
        x, y = _of_members(params, batch)

        def attacked_outputs(params: Params, inputs: Tensor) -> Tensor:
            outputs = forward(params, inputs)
            # The attack lowers y·(−y·loss) = −loss. Its gradient vanishes where the loss saturates.
            return -y * log_saturating_loss(outputs, y).exp() if saturating else outputs

        attacked = bim(attacked_outputs, _detached(params), x, y, eps, norm=norm, steps=steps, step=step, box=box)
        losses = log_loss(forward(params, attacked), y)
        if clean > 0:
            losses = torch.logaddexp(losses, math.log(clean) + log_loss(forward(params, x), y))
        return losses

    return _mean_risk(model, log_losses, tubal_nuclear)


def trades(
    task: Task,
    model: Model,
    *,
    eps: Share = 16 / 255,
    norm: Literal["linf", "l2"] = "linf",
    steps: Count = 10,
    step: Positive = 0.25,
    box: list[float] | None = [0.0, 1.0],  # noqa: B006 (read only)
    beta: Positive = 6.0,
) -> Objective:
    """Build L = (1/N) Σ ℓ(y_i N(x_i)) + β·KL(p(x_i) ‖ p(x_i')), p the sigmoid (Zhang et al., 2019, for two classes).

    The gradient of the divergence is zero at x, so the attack is on the margin of the predicted label; that raises the
    divergence too. ``eps`` … ``box`` are those of ``adversarial``.
    """
    box = _checked_box(task, box)

    def log_losses(forward: Forward, params: Params, batch: Batch) -> Tensor:
        x, y = _of_members(params, batch)
        outputs = forward(params, x)
        predicted = torch.where(outputs.detach() < 0, -1.0, 1.0).to(y)
        attacked = forward(
            params, bim(forward, _detached(params), x, predicted, eps, norm=norm, steps=steps, step=step, box=box)
        )
        # KL(p ‖ p') = A(−q') − A(−q) − A'(−q)(q − q') with A = softplus, for either label
        q, q_attacked = predicted * outputs, predicted * attacked
        divergence = softplus(-q_attacked) - softplus(-q) - torch.sigmoid(-q) * (q - q_attacked)
        log_divergence = divergence.clamp(min=torch.finfo(q.dtype).tiny).log()
        return torch.logaddexp(log_logistic_loss(y * outputs), math.log(beta) + log_divergence)

    return _mean_risk(model, log_losses)


def _risk_of_margins(
    model: Model, log_loss_and_slope: Callable[[Tensor], tuple[Tensor, Tensor | float]], reduction: Reduction
) -> Objective:
    """Build the risk of a loss of margins: ∂ log L/∂q_i = p_i ∂ log ℓ(q_i)/∂q_i, with p_i = ℓ(q_i)/Σ ℓ(q_j).

    ``_mean_risk`` gives the same result and is slower on small networks; here autograd differentiates q only.
    """

    def objective(params: Params, batch: Batch) -> tuple[Tensor, ScaledGrad]:
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
        with torch.enable_grad():
            forward, hat = prepared(model, leaves)
            q = batch.y * forward(hat, batch.x)
            log_losses, slopes = log_loss_and_slope(q.detach())
            total = log_losses.logsumexp(-1, keepdim=True)
            shares = (log_losses - total).exp_()
            # With weights as a third argument, `grad` imports the compiler and sympy, which takes seconds.
            grads = torch.autograd.grad((shares.mul_(slopes) * q).sum(), tuple(leaves.values()))
        log_risk = total.squeeze(-1) - (math.log(q.shape[-1]) if reduction == "mean" else 0)
        return log_risk, ScaledGrad(dict(zip(leaves, grads, strict=True)), log_scale=log_risk)

    return objective


def _mean_risk(model: Model, log_losses: LogLosses, tubal_nuclear: float = 0.0) -> Objective:
    network = model if isinstance(model, TensorNetwork) else None
    if tubal_nuclear > 0 and network is None:
        raise ConfigError("objective.tubal_nuclear", tubal_nuclear, "needs t-layers: model=tnn")

    def objective(params: Params, batch: Batch) -> tuple[Tensor, ScaledGrad]:
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
        with torch.enable_grad():
            forward, hat = prepared(model, leaves)
            losses = log_losses(forward, hat, batch)
            log_risk = losses.logsumexp(-1) - math.log(losses.shape[-1])
            if network and tubal_nuclear > 0:
                log_risk = torch.logaddexp(log_risk, (tubal_nuclear * tubal_nuclear_norm(network, hat)).log())
            # The members share no parameter: the gradient of the sum has every member's own gradient.
            grads = torch.autograd.grad(log_risk.sum(), tuple(leaves.values()))
        log_risk = log_risk.detach()
        return log_risk, ScaledGrad(dict(zip(leaves, grads, strict=True)), log_scale=log_risk)

    return objective


def tubal_nuclear_norm(network: TensorNetwork, hat: Params) -> Tensor:
    """Return Σ_l ‖M(W^l)‖_* ``[M]`` over the t-layers of parameters in the transform domain: s·‖Ŵ‖_* with M = s·O."""
    multiplicity, layers = network.transform.multiplicity, network.layers(hat).values()
    norms = (spectra.tubal_nuclear(spectra.singular_values(w), multiplicity) for w in layers)
    return network.scale * sum(norms)  # type: ignore[return-value]


def _of_members(params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return inputs ``[M, N, ...]`` and labels ``[M, N]``, as the attacked inputs of the members differ."""
    members = len(next(iter(params.values())))
    if batch.y.ndim == 2:
        return batch.x, batch.y
    return batch.x.expand(members, *batch.x.shape), batch.y.expand(members, -1)


def _detached(params: Params) -> Params:
    """Detach the parameters: an attack needs gradients in the inputs only."""
    return {name: leaf.detach() for name, leaf in params.items()}


def _checked_box(task: Task, box: list[float] | None) -> list[float] | None:
    if box is None:
        return None
    if len(box) != 2 or not box[0] < box[1]:
        raise ConfigError("objective.box", box, "must be two numbers, the lower one first, or null")
    if task.x.min() < box[0] or task.x.max() > box[1]:
        raise ConfigError("objective.box", box, f"must contain all inputs, {task.x.min():g} to {task.x.max():g}")
    return box
