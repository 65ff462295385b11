"""The inner maximisation of adversarial training: a few steepest steps on the margin, the last one taken as it is.

One step of length ε is the fast gradient sign method, x + ε·sign(∇ₓ loss) (Goodfellow et al., 2015). Nothing is
evaluated after the last step, which ``pgd`` does to keep the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from src.attacks.pgd import Norm, margin_and_gradient, project, steepest
from src.types import Params


def fgsm(
    apply: Callable[[Params, Tensor], Tensor],
    params: Params,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    norm: Norm = "linf",
    steps: int = 1,
    step: float = 1.0,
    box: Sequence[float] | None = None,
) -> Tensor:
    """The attacked inputs ``[M, P, ...]``, no farther from ``x`` than ``eps`` and within the box.

    Args:
        apply: ``(params, [M, P, ...]) -> [M, P]``; the attack lowers ``y·apply``.
        params: its parameters.
        x: ``[M, P, ...]``.
        y: ±1, ``[M, P]``.
        eps: radius of the ball.
        norm: of the ball; steps are steepest in it.
        steps: gradient steps from x.
        step: length of one, in units of eps.
        box: lowest and highest value of an input, which x must keep to.
    """
    attacked, radius, nothing = x, torch.full_like(y, eps), torch.zeros_like(y)
    for _ in range(steps):
        _, gradient = margin_and_gradient(apply, params, attacked, y)
        delta, _ = project(attacked - x - step * eps * steepest(gradient, norm), nothing, radius, norm)
        attacked = x + delta if box is None else (x + delta).clamp(*box)
    return attacked
