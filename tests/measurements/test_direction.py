import torch

from src.measurements import direction
from src.types import Snapshot
from tests.problems import network_problem, random_params

SHAPES = {"w1": (64, 100), "w2": (1, 64)}


def sketch(params, size=256):
    task, model, _ = network_problem()
    return direction.build(task, model, size=size)(Snapshot(0, params, torch.zeros(1)))["direction_sketch"]


def test_cosines_follow_from_sketches():
    """1 − cos has a relative standard error of √(2/K) = 9 %, for large and small angles."""
    start, step = random_params(SHAPES, members=20, seed=1), random_params(SHAPES, members=20, seed=2)
    for size_of_step in (0.01, 0.1, 1.0):
        end = {key: start[key] + size_of_step * step[key] for key in start}
        flat_start, flat_end = (torch.cat([leaf.flatten(1) for leaf in p.values()], 1) for p in (start, end))
        exact = 1 - torch.cosine_similarity(flat_start, flat_end, dim=1)
        estimate = (sketch(start) - sketch(end)).square().sum(1) / 2
        relative = estimate / exact - 1
        assert relative.abs().max() < 4 * (2 / 256) ** 0.5
        assert relative.mean().abs() < 0.06
        assert 0.04 < relative.std() < 0.14


def test_norm_does_not_matter_and_members_share_the_sketch():
    params = random_params(SHAPES, members=1)
    twice = {key: torch.cat([leaf, 5 * leaf]) for key, leaf in params.items()}
    sketches = sketch(twice)
    torch.testing.assert_close(sketches[0], sketches[1])
    torch.testing.assert_close(sketches[:1], sketch(params))


def test_sketch_is_fixed_and_rounded():
    params = random_params(SHAPES, members=1)
    first, again = sketch(params), sketch(params)
    assert torch.equal(first, again) and first.shape == (1, 256)
    assert torch.equal(first, first.round(decimals=6))
    assert all(len(repr(abs(value))) <= 8 for value in first[0].tolist() if abs(value) >= 1e-4)
