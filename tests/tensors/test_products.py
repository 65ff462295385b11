"""The t-product satisfies its axioms and equals products of block-diagonal matrices, under every transform."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from src.tensors.products import largest_kept, t_identity, t_product, t_svd, t_transpose, t_truncate, thresholded
from src.tensors.transforms import NAMES, matrix, transform

C = 7
ORTHOGONAL = [name for name in NAMES if name != "authors"]
REAL = [name for name in NAMES if name != "dft"]


def tensor(rows, columns, seed, c=C, lead=()):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*lead, c, rows, columns, generator=draw, dtype=torch.float64)


A, B, C3 = tensor(4, 3, 0), tensor(3, 5, 1), tensor(5, 2, 2)


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("name", NAMES)
def test_algebra(name, scale):
    m = transform(name, C, scale=scale)
    torch.testing.assert_close(m.inverse(m.forward(A)), A, rtol=0, atol=1e-12)
    left, right = t_product(t_product(A, B, m), C3, m), t_product(A, t_product(B, C3, m), m)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(t_product(A, t_identity(3, m, A), m), A, rtol=0, atol=1e-12)
    torch.testing.assert_close(t_product(t_identity(4, m, A), A, m), A, rtol=0, atol=1e-12)
    product = t_product(A, B, m)
    torch.testing.assert_close(t_transpose(product, m), t_product(t_transpose(B, m), t_transpose(A, m), m))
    torch.testing.assert_close(t_product(A, B + 2 * B.flip(0), m), product + 2 * t_product(A, B.flip(0), m))


@pytest.mark.parametrize("name", NAMES)
def test_batched_equals_one_by_one(name):
    m = transform(name, C)
    a, b = tensor(4, 3, 3, lead=(2, 3)), tensor(3, 2, 4, lead=(2, 3))
    torch.testing.assert_close(t_product(a, b, m)[1, 2], t_product(a[1, 2], b[1, 2], m))


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("name", REAL)
def test_equals_the_dense_block_diagonal_matrices(name, scale):
    """Compare with M⁻¹ of blkdiag(Â)·blkdiag(B̂), M as the dense matrix (s·O ⊗ I)."""
    mixing = scale * matrix(name, C).numpy()

    def dense(t):
        return scipy.linalg.block_diag(*np.einsum("ki,idj->kdj", mixing, t.numpy()))

    blocks = dense(A) @ dense(B)
    slices = np.stack([blocks[4 * i : 4 * i + 4, 5 * i : 5 * i + 5] for i in range(C)])
    expected = np.einsum("ik,kdj->idj", np.linalg.inv(mixing), slices)
    product = t_product(A, B, transform(name, C, scale=scale)).numpy()
    np.testing.assert_allclose(product, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("c", [1, 4, 7])
def test_dft_of_scale_root_c_is_the_block_circulant_product(c):
    a, b = tensor(4, 3, 5, c), tensor(3, 2, 6, c)
    circulant = torch.cat([torch.cat([a[(i - j) % c] for j in range(c)], 1) for i in range(c)], 0)
    expected = (circulant @ b.reshape(3 * c, 2)).reshape(c, 4, 2)
    torch.testing.assert_close(t_product(a, b, transform("dft", c, scale=math.sqrt(c))), expected)


def test_identity_transform_multiplies_slices():
    torch.testing.assert_close(t_product(A, B, transform("identity", C)), A @ B)


def test_dct_equals_scipy():
    expected = scipy.fft.dct(A.numpy(), axis=0, norm="ortho")
    np.testing.assert_allclose(transform("dct", C).forward(A).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(transform("dct3", C).inverse(A).numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("name", ORTHOGONAL)
@pytest.mark.parametrize("c", [1, 2, 7, 28])
def test_parseval(name, c):
    m, t = transform(name, c, scale=1.5, seed=3), tensor(4, 3, 7, c)
    hat = m.forward(t)
    energy = (m.multiplicity[:, None, None] * hat.abs().square()).sum()
    torch.testing.assert_close(energy.sqrt(), 1.5 * t.norm())
    assert m.orthogonal and len(m.multiplicity) == len(hat) and m.multiplicity.sum() == c


def test_parseval_fails_for_the_released_matrix():
    """Its singular values are √2 and, once, √(c/2), so ‖M(T)‖/‖T‖ is between them."""
    m = transform("authors", 28)
    values = torch.linalg.svdvals(matrix("authors", 28))
    torch.testing.assert_close(values.max(), torch.tensor(math.sqrt(14)).double())
    torch.testing.assert_close(values.min(), torch.tensor(math.sqrt(2)).double())
    ratio = m.forward(tensor(4, 3, 8, 28)).norm() / tensor(4, 3, 8, 28).norm()
    assert not m.orthogonal and math.sqrt(2) < ratio < math.sqrt(14)


@pytest.mark.parametrize("name", NAMES)
def test_scale_law(name):
    """M = s·O gives A *_M B = s·(A *_O B)."""
    torch.testing.assert_close(
        t_product(A, B, transform(name, C, scale=4.2)), 4.2 * t_product(A, B, transform(name, C))
    )


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_t_svd(name, scale, shape):
    m, a = transform(name, C, scale=scale), tensor(*shape, 9)
    u, s, v = t_svd(a, m)
    torch.testing.assert_close(t_product(t_product(u, s, m), t_transpose(v, m), m), a, rtol=0, atol=1e-11)
    for factor in (u, v):
        identity = t_product(t_transpose(factor, m), factor, m)
        torch.testing.assert_close(identity, t_identity(3, m, a), rtol=0, atol=1e-11)
    middle = m.forward(s)
    assert (middle - torch.diag_embed(middle.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-12


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_truncation_is_the_best_of_its_tubal_rank(name):
    m = transform(name, C)
    best = t_truncate(A, 2, m)
    error = (best - A).norm()
    nearby = t_svd(best, m)
    for seed in range(20):
        left = nearby.u[..., :2] + 0.05 * tensor(4, 2, 10 + seed)
        middle = nearby.s[..., :2, :2]
        rival = t_product(t_product(left, middle, m), t_transpose(nearby.v[..., :2], m), m)
        assert (torch.linalg.matrix_rank(m.forward(rival), rtol=1e-9) <= 2).all()
        assert (rival - A).norm() > error


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_threshold_is_the_proximal_step(name):
    """Z − P is λ times a subgradient of ‖·‖_* at P: ⟨Z − P, P⟩ = λ‖P‖_* and ‖Z − P‖_sp ≤ λ; and no point is better."""
    m, threshold = transform(name, C), 0.8
    z = m.forward(A)
    near = thresholded(z, threshold)
    weight = m.multiplicity[:, None, None]

    def nuclear(hat):
        return (m.multiplicity * torch.linalg.svdvals(hat).sum(-1)).sum()

    assert torch.linalg.svdvals(z - near).max() <= threshold + 1e-12
    inner = (weight * ((z - near).conj() * near).real).sum()
    torch.testing.assert_close(inner, threshold * nuclear(near))

    def objective(t):
        return (t - A).square().sum() / 2 + threshold * nuclear(m.forward(t))

    point = m.inverse(near)
    for seed in range(20):
        assert objective(point + 1e-2 * tensor(4, 3, 40 + seed)) > objective(point)


def test_largest_kept_and_rank_beyond_all_keep_everything():
    hat = transform("dct", C).forward(A)
    torch.testing.assert_close(largest_kept(hat, 1000), hat)
    kept = torch.linalg.svdvals(largest_kept(hat, 5)).flatten()
    all_values = torch.linalg.svdvals(hat).flatten().sort(descending=True).values
    torch.testing.assert_close(kept.sort(descending=True).values[:5], all_values[:5])
    assert (kept > 1e-10).sum() == 5


@pytest.mark.parametrize("rounding", [-1e-15, 0.0, 1e-15])
def test_largest_kept_are_no_more_when_some_are_equal(rounding):
    hat = torch.diag_embed(torch.tensor([[1.0, 0.5], [1.0 + rounding, 0.5]], dtype=torch.float64))
    for count in (1, 2, 3):
        assert (torch.linalg.svdvals(largest_kept(hat, count)) > 0.1).sum() == count


def test_random_transform_is_its_seeds():
    assert not torch.allclose(matrix("random", C, 0), matrix("random", C, 1))
    assert torch.equal(matrix("random", C, 1), matrix("random", C, 1))
    with pytest.raises(ValueError, match="dft"):
        matrix("dft", C)
