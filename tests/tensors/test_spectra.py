"""Norms and ranks of tensors against those of the dense block-diagonal matrix."""

import pytest
import torch

from src.tensors import spectra
from src.tensors.products import t_product
from src.tensors.transforms import NAMES, transform
from tests.tensors.test_products import ORTHOGONAL, C, tensor


def block_diagonal(t, m):
    """Return all slices of M(T), also those that ``transform`` does not store for the DFT."""
    hat = m.forward(t)
    if not m.real:
        hat = torch.fft.fft(t, dim=-3, norm="ortho")
    return torch.block_diag(*hat)


@pytest.mark.parametrize("name", NAMES)
def test_are_those_of_the_block_diagonal_matrix(name):
    m, t = transform(name, C), tensor(4, 3, 0)
    hat, dense = m.forward(t), block_diagonal(t, m)
    sigma, values = spectra.singular_values(hat), torch.linalg.svdvals(dense)
    norms = {
        "F": (spectra.frobenius(hat, m.multiplicity), values.norm()),
        "spectral": (spectra.spectral(sigma), values.max()),
        "nuclear": (spectra.tubal_nuclear(sigma, m.multiplicity), values.sum()),
        "stable rank": (spectra.stable_rank(sigma, m.multiplicity), values.square().sum() / values.max() ** 2),
    }
    for computed, expected in norms.values():
        torch.testing.assert_close(computed, expected)


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_order_of_norms_and_of_ranks(name):
    m = transform(name, C)
    for t in (tensor(4, 3, 1), t_product(tensor(4, 1, 2), tensor(1, 3, 3), m), 1e-6 * tensor(4, 3, 4)):
        hat = m.forward(t)
        sigma = spectra.singular_values(hat)
        size, nuclear = t.norm(), spectra.tubal_nuclear(sigma, m.multiplicity)
        assert spectra.spectral(sigma) <= size <= nuclear
        srank = spectra.stable_rank(sigma, m.multiplicity)
        ranks = (m.multiplicity * torch.linalg.matrix_rank(hat)).sum()
        assert 1 <= srank <= ranks
        rho = spectra.spectral(sigma) / size
        torch.testing.assert_close(rho**2 * srank, torch.ones((), dtype=torch.float64))
        mean = spectra.slice_stable_rank(sigma, m.multiplicity)
        assert 1 - 1e-12 <= mean <= spectra.tubal_rank(sigma) <= 3
        assert 1 / C <= spectra.top_slice_energy(sigma, m.multiplicity) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_product_of_two_factors_has_their_tubal_rank(name, rank):
    m = transform(name, C)
    hat = m.forward(t_product(tensor(5, rank, 5), tensor(rank, 4, 6), m))
    assert spectra.tubal_rank(spectra.singular_values(hat), 1e-9) == rank


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_rounding_adds_nothing_to_the_rank(tolerance, scale):
    m = transform("dct", C)
    for seed in range(20):
        hat = m.forward(scale * t_product(tensor(6, 2, seed), tensor(2, 8, 50 + seed), m))
        assert spectra.tubal_rank(spectra.singular_values(hat), tolerance) == 2


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_gradient_of_the_nuclear_norm_is_u_times_v(name):
    m = transform(name, C)
    t = tensor(4, 3, 7).requires_grad_()
    sigma = spectra.singular_values(m.forward(t))
    (gradient,) = torch.autograd.grad(spectra.tubal_nuclear(sigma, m.multiplicity), t)
    u, _, vh = torch.linalg.svd(m.forward(t.detach()), full_matrices=False)
    torch.testing.assert_close(gradient, m.inverse(u @ vh), rtol=0, atol=1e-11)


def test_all_energy_in_one_slice():
    t = torch.zeros(C, 3, 3, dtype=torch.float64)
    t[2] = torch.eye(3)
    sigma, ones = spectra.singular_values(t), torch.ones(C)
    assert spectra.top_slice_energy(sigma, ones) == 1 and spectra.tubal_rank(sigma) == 3
    assert spectra.stable_rank(sigma, ones) == 3
