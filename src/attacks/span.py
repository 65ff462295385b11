"""The span of the weights of a two-layer network: the part of the input space that its outputs depend on."""

from __future__ import annotations

import torch
from torch import Tensor

from src.types import Params


def in_span(params: Params, x: Tensor) -> tuple[Params, Tensor, Tensor]:
    """Return the network in orthonormal coordinates of span(w_1, …, w_m), which contains the smallest attack.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.

    Returns:
        Parameters with ``w [M, m, s]``, points ``[M, P, s]`` and the basis ``[M, r, s]``, s = min(m, r). A δ of these
        coordinates is δ basisᵀ in the old ones. Outputs and lengths within the span are unchanged.
    """
    width, dimension = params["w"].shape[1:]
    if width >= dimension:
        basis = torch.eye(dimension).to(x).expand(len(x), -1, -1)
        return params, x, basis
    basis = torch.linalg.qr(params["w"].mT).Q
    return {**params, "w": params["w"] @ basis}, x @ basis, basis
