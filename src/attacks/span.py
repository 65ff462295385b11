"""The part of the input space a two-layer network sees: the span of its neurons' weights."""

from __future__ import annotations

import torch
from torch import Tensor

from src.types import Params


def in_span(params: Params, x: Tensor) -> tuple[Params, Tensor, Tensor]:
    """The same network in orthonormal coordinates of span(w_1, …, w_m), where the smallest attack lies.

    Args:
        params: ``w [M, m, r]``, ``b [M, m]``, ``v [M, m]``.
        x: ``[M, P, r]``.

    Returns:
        parameters with ``w [M, m, s]``, points ``[M, P, s]`` and the frame ``[M, r, s]``, s = min(m, r). A δ of these
        coordinates is δ frameᵀ in the old ones. Outputs and lengths within the span are unchanged.
    """
    width, dimension = params["w"].shape[1:]
    if width >= dimension:
        frame = torch.eye(dimension).to(x).expand(len(x), -1, -1)
        return params, x, frame
    frame = torch.linalg.qr(params["w"].mT).Q
    return {**params, "w": params["w"] @ frame}, x @ frame, frame
