import torch
from scipy.optimize import nnls

from src.attacks.halfspaces import Walls, add_wall, no_walls


def nearest_by_adding_the_worst(normals, offsets):
    """Walls of the half-spaces ``normals [B, n, s]``, ``offsets [B, n]``, added until none is violated."""
    walls = no_walls(normals[:, 0], normals.shape[-1] + 1)
    possible = torch.ones(len(normals), dtype=torch.bool)
    for _ in range(100):
        violation = offsets + (normals @ walls.nearest[..., None]).squeeze(-1)
        worst, which = (violation / normals.norm(dim=-1)).max(-1)
        rows = ((worst > 1e-11) & possible).nonzero().squeeze(-1)
        if not len(rows):
            return walls, possible
        part = Walls(walls.normal[rows], walls.force[rows])
        part, still = add_wall(part, normals[rows, which[rows]], offsets[rows, which[rows]])
        walls.normal[rows], walls.force[rows] = part
        possible[rows] = still
    raise AssertionError("100 half-spaces were not enough")


def test_nearest_point_agrees_with_non_negative_least_squares():
    """Lawson and Hanson: with (u, ρ) the NNLS solution and residual of [−Gᵀ; h] u ≈ (0, 1), ρ = 0 means empty and the
    nearest point is δ = −Gᵀu / (1 − h·u)."""
    draw = torch.Generator().manual_seed(0)
    normals = torch.randn(60, 9, 5, generator=draw, dtype=torch.float64)
    offsets = torch.rand(60, 9, generator=draw, dtype=torch.float64) + 0.1
    walls, possible = nearest_by_adding_the_worst(normals, offsets)
    assert 20 < possible.sum() < 60
    for normal, offset, delta, there in zip(normals, offsets, walls.nearest, possible, strict=True):
        system = torch.cat([-normal.mT, offset[None]]).numpy()
        u, rest = nnls(system, [0.0] * 5 + [1.0])
        assert (rest > 1e-9) == bool(there)
        if there:
            torch.testing.assert_close(delta, -normal.mT @ torch.tensor(u) / (1 - offset @ torch.tensor(u)))


def test_a_parallel_wall_further_out_takes_over():
    normal = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    walls, _ = add_wall(no_walls(normal, 3), normal, torch.tensor([1.0], dtype=torch.float64))
    walls, possible = add_wall(walls, 2 * normal, torch.tensor([4.0], dtype=torch.float64))
    assert possible.all()
    torch.testing.assert_close(walls.nearest, -2 * normal)
    _, possible = add_wall(walls, -normal, torch.tensor([1.0], dtype=torch.float64))
    assert not possible.any()
