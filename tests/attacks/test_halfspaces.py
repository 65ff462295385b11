import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.attacks.halfspaces import GAP, REACH, add_constraint, nearest_point, no_constraints

FAMILIES = ("general", "parallel", "opposite", "thin", "duplicated")


def nearest_by_adding_the_worst(normals, offsets):
    """Add the half-spaces ``normals [B, n, s]``, ``offsets [B, n]``, the most violated first, until none is violated.

    Returns:
        δ ``[B, s]``, and two masks ``[B]``: proved optimal, proved empty.
    """
    length = normals.norm(dim=-1)
    active = no_constraints(normals[:, 0], normals.shape[-1] + 1)
    done, optimal, empty = torch.zeros(3, len(normals), dtype=torch.bool)
    for _ in range(100):
        delta = active.nearest
        violation = (offsets + (normals @ delta[..., None]).squeeze(-1)) / length
        worst, which = violation.max(-1)
        solved = (worst <= 1e-11 * (offsets / length).abs().amax(-1)) & ~done
        optimal |= solved & (active.bound >= (1 - GAP) * delta.norm(dim=-1))
        done |= solved
        rows = (~done).nonzero().squeeze(-1)
        if not len(rows):
            break
        normal, offset = normals[rows, which[rows]], offsets[rows, which[rows]]
        farthest = torch.maximum(delta[rows].norm(dim=-1), offset / normal.norm(dim=-1))
        part, possible = add_constraint(active.rows(rows), normal, offset)
        for whole, leaf in zip(active, part, strict=True):
            whole[rows] = leaf
        empty[rows] = ~possible & (part.bound > REACH * farthest)
        done[rows] = ~possible
    return active.nearest, optimal, empty


def draw_half_spaces(family, seed, scale):
    """Draw ``(normals [n, s], offsets [n])`` of a family; the first half-space does not contain the origin."""
    draw = np.random.default_rng(seed)
    dimension, count = draw.integers(2, 6), draw.integers(2, 12)
    normals, offsets = draw.standard_normal((count, dimension)), draw.standard_normal(count) + 0.3
    angle = 10.0 ** draw.uniform(-6, -1)
    if family == "parallel":
        normals = normals[:1] + angle * normals
    if family == "opposite":
        normals = draw.choice([-1, 1], (count, 1)) * normals[:1] + angle * normals
    if family == "thin":  # a cone that is nearly a ray, with its tip far out
        tip = draw.standard_normal(dimension) * 10 ** draw.uniform(0, 3)
        offsets = -(normals @ tip) - angle * np.linalg.norm(normals, axis=1)
    if family == "duplicated":
        normals, offsets = np.concatenate([normals, 2 * normals]), np.concatenate([offsets, 2 * offsets])
    offsets[0] = abs(offsets[0]) + 1e-3 * abs(offsets).max()
    weights = 10.0 ** draw.uniform(-6, 6, len(offsets))
    return normals * weights[:, None], offsets * weights * scale


def distances(normals, offsets):
    """Return signed distances of the boundaries from the origin, negative for half-spaces that contain it."""
    return offsets / np.linalg.norm(normals, axis=1)


def by_a_conic_solver(normals, offsets):
    """Return the status of the solver and the distance of the nearest point from the origin."""
    h = distances(normals, offsets)
    delta = cp.Variable(normals.shape[1])
    inside = (normals / np.linalg.norm(normals, axis=1)[:, None]) @ delta + h / h.max() <= 0
    problem = cp.Problem(cp.Minimize(cp.sum_squares(delta)), [inside])
    try:
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    except cp.SolverError:
        return "failed", None
    return problem.status, None if delta.value is None else h.max() * np.linalg.norm(delta.value)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.integers(-12, 12))
def test_nearest_points_agree_with_a_conic_solver_and_proofs_with_both(family, seed, exponent):
    normals, offsets = draw_half_spaces(family, seed, 10.0**exponent)
    farthest = distances(normals, offsets).max()
    point = nearest_point(normals, offsets)
    distance = np.inf if point is None else np.linalg.norm(point)
    if point is not None:
        violation = (normals @ point + offsets) / np.linalg.norm(normals, axis=1)
        assert violation.max() <= 1e-8 * max(farthest, distance)

    status, expected = by_a_conic_solver(normals, offsets)
    if status == "infeasible":
        assert distance > REACH / 10 * farthest
    elif status == "optimal" and expected < REACH / 10 * farthest:
        assert distance == pytest.approx(expected, rel=1e-4)

    delta, optimal, empty = nearest_by_adding_the_worst(torch.tensor(normals)[None], torch.tensor(offsets)[None])
    if optimal:
        assert distance == pytest.approx(delta.norm().item(), rel=1e-6)
    if empty:
        assert distance > REACH * farthest


def test_the_fast_solver_proves_nearly_all_solutions():
    """Otherwise most problems would need the robust solver, which solves one at a time."""
    draw = torch.Generator().manual_seed(0)
    normals = torch.randn(200, 9, 5, generator=draw, dtype=torch.float64)
    offsets = torch.rand(200, 9, generator=draw, dtype=torch.float64) + 0.1
    _, optimal, empty = nearest_by_adding_the_worst(normals, offsets)
    assert optimal.sum() > 50 and empty.sum() > 50 and (optimal | empty).sum() > 190


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_a_thin_slab_and_an_empty_one_are_distinguished(gap):
    """The slab −1 − gap ≤ g·δ ≤ −1 is not empty, −1 + gap ≤ g·δ ≤ −1 is, for g in any direction."""
    for turn in range(20):
        g = torch.nn.functional.normalize(
            torch.randn(4, generator=torch.Generator().manual_seed(turn), dtype=torch.float64), dim=0
        )
        normals = torch.stack([g, -g]).numpy()
        np.testing.assert_allclose(nearest_point(normals, np.array([1.0, -1 - gap])), -g.numpy(), atol=1e-9)
        assert nearest_point(normals, np.array([1.0, -1 + gap])) is None


def test_the_tip_of_a_cone_is_found_up_to_the_reach():
    """Half-planes that meet at an angle a have their tip at a distance of 1/sin a."""
    for angle in (1e-1, 1e-3, 1e-5):
        normals = np.array([[np.cos(angle), np.sin(angle)], [-np.cos(angle), np.sin(angle)]])
        tip = nearest_point(normals, np.ones(2))
        np.testing.assert_allclose(tip, [0, -1 / np.sin(angle)], rtol=1e-9, atol=1e-6 / angle)
    assert nearest_point(np.array([[1.0, 1e-12], [-1.0, 1e-12]]), np.ones(2)) is None


@pytest.mark.parametrize("leaf", ["zero", "nan", "inf"])
def test_no_point_with_a_normal_that_is_zero_or_not_finite(leaf):
    normals = np.array([[1.0, 0.0], [0.0 if leaf == "zero" else float(leaf), 0.0]])
    assert nearest_point(normals, np.ones(2)) is None
    _, solved = add_constraint(no_constraints(torch.zeros(1, 2), 3), torch.tensor(normals[1:]).float(), torch.ones(1))
    assert not solved.any()


def test_a_farther_parallel_constraint_replaces_the_active_one():
    normal = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    active, _ = add_constraint(no_constraints(normal, 3), normal, torch.tensor([1.0], dtype=torch.float64))
    active, solved = add_constraint(active, 2 * normal, torch.tensor([4.0], dtype=torch.float64))
    assert solved.all()
    torch.testing.assert_close(active.nearest, -2 * normal)
    active, solved = add_constraint(active, -normal, torch.tensor([1.0], dtype=torch.float64))
    assert not solved.any() and (active.bound > REACH).all()
