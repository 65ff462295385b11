"""The largest spectral margin on the clusters, against a semidefinite program, an explicit network and random ones."""

import itertools

import cvxpy
import numpy as np
import pytest
import torch

from src.models.two_layer_relu import forward
from src.oracles.clusters import spectral_margin


def program(own):
    """Return the largest mean of relu responses over distributions of rows u with E[u uᵀ] ⪯ I, from all sets S."""
    sets = [np.array(on, float) for on in itertools.product((0, 1), repeat=own)]
    moments = [cvxpy.Variable((own + 1, own + 1), PSD=True) for _ in sets]
    constraints = [sum(moment[0, 0] for moment in moments) == 1]
    constraints += [np.eye(own) - sum(moment[1:, 1:] for moment in moments) >> 0]
    total = sum(moment[0, 1:] @ on for moment, on in zip(moments, sets, strict=True))
    return cvxpy.Problem(cvxpy.Maximize(total / own), constraints).solve(solver=cvxpy.SCS, eps=1e-7) / 2**0.5


@pytest.mark.parametrize("k", [2, 4, 6])
def test_is_the_value_of_the_primal_program(k):
    assert spectral_margin(1, k) == pytest.approx(program(k // 2), rel=1e-4)


def margin(params, d, k):
    means, labels = d**0.5 * torch.eye(k, dtype=torch.float64), torch.ones(k, dtype=torch.float64)
    labels[k // 2 :] = -1
    size = torch.maximum(torch.linalg.matrix_norm(params["w"], 2), params["v"].norm(dim=-1)) ** 2
    return (labels * forward(params, means)).amin(-1) / size


def test_a_regular_hadamard_matrix_attains_it():
    k, own = 8, 4
    regular = 1.0 - 2 * torch.eye(own, dtype=torch.float64)  # H Hᵀ = 4 I, rows with the sum 2
    w = torch.block_diag(regular, regular)[None] / own**0.5
    v = torch.tensor([[1.0] * own + [-1.0] * own], dtype=torch.float64) / k**0.5
    attained = margin({"w": w, "b": torch.zeros(1, k, dtype=torch.float64), "v": v}, 100, k)
    assert float(attained) == pytest.approx(spectral_margin(100, k), rel=1e-12)
    assert spectral_margin(100, k) == pytest.approx(10 * (1 + (2 / k) ** 0.5) / 8**0.5)


@pytest.mark.parametrize("k", [4, 8, 16])
def test_no_random_network_exceeds_it_and_feature_averaging_is_below(k):
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(500, 24, k, generator=generator, dtype=torch.float64)
    v = w[..., : k // 2].mean(-1) - w[..., k // 2 :].mean(-1)
    drawn = margin({"w": w, "b": torch.zeros_like(v), "v": v}, 1, k)
    assert drawn.max() > 0
    assert drawn.max() < spectral_margin(1, k)
    assert k**-0.5 < spectral_margin(1, k)
