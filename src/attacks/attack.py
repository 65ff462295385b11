"""What every attack returns."""

from typing import NamedTuple

from torch import Tensor


class Attack(NamedTuple):
    """One perturbation per example, the best over all starts and iterates.

    ``success`` ``[M, P]`` says that y N(x + δ) < 0, evaluated at the ``delta`` ``[M, P, ...]`` that is returned;
    ``radius`` ``[M, P]`` is the norm of that δ, and infinite where nothing flipped.
    """

    delta: Tensor
    radius: Tensor
    success: Tensor
