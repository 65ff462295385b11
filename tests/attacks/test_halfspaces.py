import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.attacks.halfspaces import GAP, REACH, add_constraint, nearest_point, no_constraints

FAMILIES = ("general", "parallel", "opposite", "thin", "duplicated")


def nearest_by_adding_the_worst(normals, offsets):
    """Nearest points of the half-spaces ``normals [B, n, s]``, ``offsets [B, n]``, added until none is violated.

    Returns:
        δ ``[B, s]``, and ``[B]`` each: proved to be the nearest, proved that there is none.
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
        part, found = add_constraint(active.rows(rows), normal, offset)
        for whole, leaf in zip(active, part, strict=True):
            whole[rows] = leaf
        empty[rows] = ~found & (part.bound > REACH * farthest)
        done[rows] = ~found
    return active.nearest, optimal, empty


def draw_half_spaces(family, seed, scale):
    """``(normals [n, s], offsets [n])`` of one kind, the first of which does not hold the origin."""
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
    """Of the borders from the origin, negative where a half-space holds it."""
    return offsets / np.linalg.norm(normals, axis=1)


def clarabel(normals, offsets, slack=0.0):
    """Status and nearest point by another solver, of half-spaces that are larger by ``slack``, in units of the data."""
    h = distances(normals, offsets)
    delta = cp.Variable(normals.shape[1])
    fits = (normals / np.linalg.norm(normals, axis=1)[:, None]) @ delta + h / h.max() <= slack
    problem = cp.Problem(cp.Minimize(cp.sum_squares(delta)), [fits])
    try:
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    except cp.SolverError:
        return "failed", None
    return problem.status, None if delta.value is None else h.max() * delta.value


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.integers(-12, 12))
def test_both_solvers_agree_with_a_conic_solver(family, seed, exponent):
    """Wherever the conic solver is sure, and whatever the fast solver proves is what the trusted one finds."""
    normals, offsets = draw_half_spaces(family, seed, 10.0**exponent)
    delta, optimal, empty = (
        leaf.squeeze(0).numpy() for leaf in nearest_by_adding_the_worst(*torch.tensor(normals)[None], offsets)
    ) if False else (leaf.squeeze(0).numpy() for leaf in nearest_by_adding_the_worst(
        torch.tensor(normals)[None], torch.tensor(offsets)[None]))
