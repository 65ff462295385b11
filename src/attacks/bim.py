"""The inner maximisation of adversarial training: a few steepest steps on the margin, without random start.

One step of length ε is the fast gradient sign method (FGSM), x + ε·sign(∇ₓ loss) (Goodfellow et al., 2015); several
are the basic iterative method (BIM; Kurakin et al., 2017). Both return the last iterate; ``pgd`` returns the best one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from src.attacks.pgd import Norm, margin_and_gradient, project, steepest
from src.types import Params


def bim(
    apply: Callable[[Params, Tensor], Tensor],
    params: Params,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    norm: Norm = "linf",
    steps: int,
    step: float = 1.0,
    box: Sequence[float] | None = None,
) -> Tensor:
    """Return attacked inputs ``[M, P, ...]`` in the box, at distance at most ``eps`` from ``x``.

    Args:
        apply: ``(params, [M, P, ...]) -> [M, P]``; the attack lowers ``y·apply``.
        params: parameters of ``apply``.
        x: ``[M, P, ...]``.
        y: ±1, ``[M, P]``.
        eps: radius of the ball.
        norm: norm of the ball; steps are steepest in it.
        steps: number of gradient steps from x.
        step: length of a step in units of eps.
        box: lowest and highest value of an input; ``x`` must lie between them.
    """
    attacked, radius, outside = x, torch.full_like(y, eps), torch.zeros_like(y)
    for _ in range(steps):
        _, gradient = margin_and_gradient(apply, params, attacked, y)
        delta, _ = project(attacked - x - step * eps * steepest(gradient, norm), outside, radius, norm)
        attacked = x + delta if box is None else (x + delta).clamp(*box)
    return attacked


def fgsm(
    apply: Callable[[Params, Tensor], Tensor],
    params: Params,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    box: Sequence[float] | None = None,
) -> Tensor:
    """Return the inputs after one ℓ∞ step of length ``eps``; the arguments are those of ``bim``."""
    return bim(apply, params, x, y, eps, steps=1, box=box)
