"""The result of an attack."""

from typing import NamedTuple

from torch import Tensor


class Attack(NamedTuple):
    """One perturbation per example, the best over all starts and iterates.

    ``success [M, P]`` is whether y N(x + δ) < 0 at the returned ``delta [M, P, ...]``; ``radius [M, P]`` is the norm of
    δ. ``minimal_attack`` has an infinite radius where no flip was found.
    """

    delta: Tensor
    radius: Tensor
    success: Tensor
