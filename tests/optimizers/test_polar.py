import pytest
import torch

from src.optimizers import polar


def gaussian(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_singular_values(sigma, rows=8, columns=12):
    u, _, vt = torch.linalg.svd(gaussian(rows, columns), full_matrices=False)
    return (u * torch.tensor(sigma, dtype=torch.float64)) @ vt, u @ vt


@pytest.mark.parametrize("shape", [(3, 8, 12), (3, 12, 8), (3, 8, 8), (3, 1, 8), (3, 8, 1)])
def test_three_algorithms_give_the_same_polar_factor(shape):
    """SVD, Gram matrix and a Newton–Schulz iteration run to convergence, on well-conditioned matrices."""
    matrix = gaussian(*shape) + 2 * torch.eye(*shape[1:], dtype=torch.float64)
    exact = polar.by_svd(matrix)
    smaller = min(shape[1:])
    gram = exact @ exact.mT if shape[1] <= shape[2] else exact.mT @ exact
    torch.testing.assert_close(gram, torch.eye(smaller, dtype=torch.float64).expand(3, -1, -1), rtol=0, atol=1e-13)
    torch.testing.assert_close(polar.by_gram(matrix), exact, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        polar.newton_schulz(matrix, 40, polar.CONVERGENT, torch.float64), exact, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("factor", [polar.by_svd, polar.by_gram])
def test_null_space_is_zero_not_noise(factor):
    matrix, _ = with_singular_values([1.0, 0.5, 0.1] + [0.0] * 5)
    sigma = torch.linalg.svdvals(factor(matrix))
    torch.testing.assert_close(sigma, torch.tensor([1.0] * 3 + [0.0] * 5, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("size", "rank", "examples"), [(4, 2, 5000), (8, 3, 2000), (32, 8, 200)])
def test_null_space_of_a_sum_over_many_examples_is_zero_not_noise(size, rank, examples):
    """Gradients Σ_i δ_i x_iᵀ with few different x_i: rounding in a long sum gives no singular direction."""
    for seed in range(20):
        inputs = gaussian(rank, size, seed=seed)[torch.arange(examples) % rank]
        gradient = gaussian(examples, size, seed=100 + seed).mT @ inputs
        sigma = torch.linalg.svdvals(polar.by_svd(gradient))
        expected = (torch.arange(size) < rank).double()
        torch.testing.assert_close(sigma, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-250, 1e-10, 1e150])
@pytest.mark.parametrize(
    ("factor", "atol"),
    [
        (polar.by_svd, 1e-12),
        (polar.by_gram, 1e-12),
        (lambda m: polar.newton_schulz(m, 5, polar.MUON, torch.bfloat16), 1e-2),
    ],
    ids=["svd", "gram", "newton_schulz"],
)
def test_scale_does_not_matter(factor, atol, scale):
    matrix = gaussian(2, 5, 7)
    torch.testing.assert_close(factor(scale * matrix), factor(matrix), rtol=0, atol=atol)


def test_exact_down_to_rounding_where_gram_is_not():
    """The Gram matrix has squared singular values: it drops σ ≤ 1e-7 σ_max, which the SVD keeps."""
    matrix, expected = with_singular_values([1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-9, 1e-10, 1e-11])
    torch.testing.assert_close(torch.linalg.svdvals(polar.by_svd(matrix)), torch.ones(8, dtype=torch.float64))
    assert (polar.by_svd(matrix) - expected).abs().max() < 1e-3
    assert torch.linalg.svdvals(polar.by_gram(matrix))[4] < 1e-6


def test_newton_schulz_variants_reach_their_published_accuracy():
    sigma = [1.0, 0.7, 0.5, 0.3, 0.1, 0.05, 0.02, 0.01]
    matrix, _ = with_singular_values(sigma)

    def reached(steps, coefficients):
        return torch.linalg.svdvals(polar.newton_schulz(matrix, steps, coefficients, torch.float64))

    five = reached(5, polar.MUON)
    assert five.min() > 0.6 and five.max() < 1.25
    assert (reached(8, polar.POLAR_EXPRESS) - 1).abs().max() < 1e-6
    assert reached(5, polar.CONVERGENT).min() < 0.5, "five convergent steps are too few"
    assert (reached(30, polar.CONVERGENT) - 1).abs().max() < 1e-12
    assert (reached(30, polar.MUON) - 1).abs().max() > 0.05, "Jordan's coefficients do not converge"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", polar.EXACT.values(), ids=polar.EXACT)
def test_matrices_that_are_not_finite_do_not_stop_the_batch(factor, dtype):
    matrix = gaussian(3, 4, 5).to(dtype)
    matrix[1, 2, 3] = torch.inf
    sigma = polar.singular_values(matrix)
    assert sigma[1].isnan().all()
    torch.testing.assert_close(sigma[0], torch.linalg.svdvals(matrix[0].double()), rtol=1e-7, atol=0)
    assert factor(matrix)[[0, 2]].isfinite().all()


def test_singular_values_in_single_precision_equal_those_of_the_svd():
    matrix, _ = with_singular_values([3.0, 1.0, 1e-2, 1e-4, 1e-5, 0.0, 0.0, 0.0])
    for single in (matrix.float(), matrix.mT.float(), 1e-30 * matrix.float()):
        exact = torch.linalg.svdvals(single.double())
        torch.testing.assert_close(polar.singular_values(single), exact, rtol=0, atol=6e-8 * float(exact[0]))


def test_single_precision_is_kept():
    matrix = gaussian(2, 4, 6).float()
    for factor in polar.EXACT.values():
        assert factor(matrix).dtype == torch.float32
        torch.testing.assert_close(factor(matrix).double(), polar.by_svd(matrix.double()), rtol=0, atol=1e-6)


def test_the_default_is_the_svd_in_double_and_the_gram_matrix_in_single_precision():
    matrix, _ = with_singular_values([1.0, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-10, 1e-11])
    assert torch.equal(polar.exact(matrix), polar.by_svd(matrix))
    single = matrix.float()
    assert torch.equal(polar.exact(single), polar.by_gram(single))
    _, sigma, vt = torch.linalg.svd(single.double())
    assert sigma[6] > 1e-9, "rounding to float32 changed the matrix"
    kept = vt[:6].mT  # σ above rounding: both agree there
    torch.testing.assert_close(
        polar.by_gram(single.double()) @ kept, polar.by_svd(single.double()) @ kept, rtol=0, atol=1e-3
    )


def test_loss_of_the_gram_matrix_beyond_rounding():
    """A row 1e-8 of the other as a whole keeps its digits in float32; only the SVD still moves it."""
    rows = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, -1, 2, 0, -3, 1]]) * torch.tensor([[1.0], [1e-8]])
    reached = {name: torch.linalg.svdvals(factor(rows).double()) for name, factor in polar.EXACT.items()}
    torch.testing.assert_close(reached["svd"], torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert reached["exact"][1] < 1e-6
