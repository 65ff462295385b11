"""Stable ranks ‖W‖_F²/‖W‖₂² of the weight matrices of any network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from src.optimizers.norms import singular_values
from src.types import Measurement, Model, Snapshot, Task


def build(task: Task, model: Model) -> Measurement:
    """Measure ``matrix_srank_k``, the stable rank of the k-th matrix of parameters, from 1; vectors are not counted.

    It lies between 1 and the rank, and does not change with the size of W. It is NaN for W = 0.
    """

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        matrices = [leaf for leaf in snapshot.params.values() if leaf.ndim > 2]
        return {f"matrix_srank_{k}": stable_rank(singular_values(w)).cpu() for k, w in enumerate(matrices, 1)}

    return measure


def stable_rank(sigma: Tensor) -> Tensor:
    """Return Σ σ² / max σ² ``[M]`` of singular values ``[M, K]``, in float64.

    >>> import torch
    >>> stable_rank(torch.tensor([[3.0, 3.0, 0.0], [5.0, 0.0, 0.0]])).tolist()
    [2.0, 1.0]
    """
    return (sigma.double() / sigma.double().amax(-1, keepdim=True)).square().sum(-1)
