"""Exact maximum margins of linear models: max_W min_i y_i ⟨W, X_i⟩ over ‖W‖ ≤ 1, for every norm of the suite.

Strong duality (a minimax theorem) reads

    max_{‖W‖≤1} min_i y_i ⟨W, X_i⟩ = min_{λ ∈ simplex} ‖Σ_i λ_i y_i X_i‖_*,

so any λ bounds the optimum from above and any W from below, and every solution here comes with a certificate.

A model has one block of parameters or, for the hybrid norm, several: X_i is a list of arrays, one for each block. A
vector ``[N, d]`` counts as a matrix of one row. This file shares no code with the norms of training, so that tests
compare independent implementations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog, nnls

from src.errors import ConfigError

Blocks = list[np.ndarray]


class Optimum(NamedTuple):
    """``margin`` ≤ optimum ≤ ``bound``; ``separator`` has norm 1 and this margin, ``multipliers`` λ give the bound."""

    margin: float
    bound: float
    separator: Blocks
    multipliers: np.ndarray


def max_margin(x: Any | Sequence[Any], y: Any, norm: str, *, p: float = 2.0, ratio: float = 1.0) -> Optimum:
    """Return the optimum in one of the norms ``l2``, ``linf``, ``msp``, ``hyb``, ``rows``, ``lp``, ``schatten``.

    ℓ2 is a non-negative least-squares problem, ℓ∞ a linear program (HiGHS), the others conic programs (CLARABEL).

    Args:
        x: ``[N, d]`` or ``[N, a, b]``, or a list of such arrays, one for each block.
        y: labels ±1 ``[N]``.
        norm: name of the norm.
        p: exponent of ``lp`` and ``schatten`` (1 or a power of two for the latter).
        ratio: r of ``hyb``: max{r·‖W_k‖_sp, ‖u‖_∞}, with u the last block.

    Raises:
        ConfigError: if cvxpy is needed and missing, or the data are not separable by a margin that the solver finds to
            within 1 % of its bound.
    """
    blocks = _blocks(x)
    labels = np.asarray(y, dtype=float)
    solve = {"l2": _quadratic_program, "linf": _linear_program}.get(norm, _conic_program)
    # The solvers have absolute tolerances, so the data are scaled to a largest entry of 1.
    unit = max(abs(block).max() for block in blocks) or 1.0
    signed = [labels.reshape(-1, 1, 1) * (block / unit) for block in blocks]
    separator, multipliers = solve(signed, norm, p, ratio)
    size = norm_of(separator, norm, p=p, ratio=ratio)
    separator = [block / size if size > 0 else block for block in separator]
    margin = min(sum(np.einsum("ab,nab->n", w, z) for w, z in zip(separator, signed, strict=True)))
    bound = dual_bound(x, y, multipliers, norm, p=p, ratio=ratio)
    if not (margin > 1e-9 and unit * margin > 0.99 * bound):
        allowed = "a maximum margin needs linearly separable data, with a margin above the solver's rounding error"
        raise ConfigError("data", "not separable", allowed)
    return Optimum(float(unit * margin), bound, separator, multipliers)


def dual_bound(
    x: Any | Sequence[Any], y: Any, multipliers: Any, norm: str, *, p: float = 2.0, ratio: float = 1.0
) -> float:
    """Return ‖Σ λ_i y_i X_i‖_*, an upper bound on every margin, for any multipliers λ ≥ 0 (here scaled to sum 1)."""
    weights = np.maximum(np.asarray(multipliers, dtype=float), 0)
    weights = weights / weights.sum() * np.asarray(y, dtype=float)
    return dual_norm_of([np.einsum("n,nab->ab", weights, block) for block in _blocks(x)], norm, p=p, ratio=ratio)


def norm_of(blocks: Blocks, norm: str, *, p: float = 2.0, ratio: float = 1.0) -> float:
    """Return ‖W‖, the ℓp norm of the atoms of W."""
    return float(np.linalg.norm(_atoms(blocks, norm, ratio), _exponent(norm, p)))


def dual_norm_of(blocks: Blocks, norm: str, *, p: float = 2.0, ratio: float = 1.0) -> float:
    """Return ‖G‖_* = max of ⟨W, G⟩ over ‖W‖ ≤ 1, the ℓp' norm of the atoms of G."""
    exponent = _exponent(norm, p)
    conjugate = math.inf if exponent == 1 else 1 / (1 - 1 / exponent)
    return float(np.linalg.norm(_atoms(blocks, norm, 1 / ratio), conjugate))


def _exponent(norm: str, p: float) -> float:
    return {"l2": 2.0, "lp": p, "schatten": p}.get(norm, math.inf)


def _atoms(blocks: Blocks, norm: str, weight: float) -> np.ndarray:
    """Return entries, singular values or lengths of rows; ``weight`` multiplies singular values in the hybrid norm."""
    if norm == "hyb":
        return np.concatenate([weight * _atoms(blocks[:-1], "msp", 1.0), _atoms(blocks[-1:], "linf", 1.0)])
    of_block: Callable[[np.ndarray], np.ndarray] = {
        "msp": lambda block: np.linalg.svd(block, compute_uv=False),
        "schatten": lambda block: np.linalg.svd(block, compute_uv=False),
        "rows": lambda block: np.linalg.norm(block, axis=1),
    }.get(norm, np.ravel)
    return np.concatenate([of_block(block) for block in blocks] or [np.zeros(0)])


def _quadratic_program(signed: Blocks, norm: str, p: float, ratio: float) -> tuple[Blocks, np.ndarray]:
    """Solve min ‖w‖₂ s.t. Z w ≥ 1 as least distance (Lawson and Hanson): w ∝ Zᵀu with u = argmin_{u≥0} ‖E u − e‖."""
    z = _rows(signed)
    system = np.vstack([z.T, np.ones(len(z))])
    target = np.append(np.zeros(z.shape[1]), 1.0)
    u, _ = nnls(system, target, maxiter=100 * len(z))
    return _unflatten(z.T @ u, signed), u


def _linear_program(signed: Blocks, norm: str, p: float, ratio: float) -> tuple[Blocks, np.ndarray]:
    """Solve max t s.t. Z w ≥ t, |w_j| ≤ 1."""
    z = _rows(signed)
    n, d = z.shape
    solution = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.hstack([-z, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        bounds=[(-1, 1)] * d + [(None, None)],
        method="highs",
    )
    return _unflatten(solution.x[:-1], signed), -solution.ineqlin.marginals


def _conic_program(signed: Blocks, norm: str, p: float, ratio: float) -> tuple[Blocks, np.ndarray]:
    """Solve max t s.t. Σ_k ⟨W_k, Z_ki⟩ ≥ t, ‖W‖ ≤ 1."""
    try:
        import cvxpy as cp
    except ImportError as error:
        allowed = "its exact optimum needs cvxpy: pip install 'implicit-bias-suite[solve]'"
        raise ConfigError("norm", norm, allowed) from error
    weights = [cp.Variable(block.shape[1:]) for block in signed]
    flat = cp.hstack([cp.vec(w, order="C") for w in weights])
    t = cp.Variable()
    fits = _rows(signed) @ flat >= t
    hidden, last = weights[:-1], weights[-1]
    ball = {
        "msp": lambda: [cp.sigma_max(w) <= 1 for w in weights],
        "hyb": lambda: [*(ratio * cp.sigma_max(w) <= 1 for w in hidden), cp.abs(last) <= 1],
        "rows": lambda: [cp.norm(w, 2, axis=1) <= 1 for w in weights],
        "lp": lambda: [cp.pnorm(flat, p) <= 1],  # type: ignore[arg-type]
        "schatten": lambda: _schatten_ball(cp, weights, p),
    }[norm]()
    cp.Problem(cp.Maximize(t), [fits, *ball]).solve(solver=cp.CLARABEL)
    return [w.value for w in weights], fits.dual_value  # type: ignore[misc]


def _schatten_ball(cp: Any, weights: list[Any], p: float) -> list[Any]:
    """Return ‖W‖_{S_p} ≤ 1, p = 1, 2, 4, …: ‖W‖²_{S_p} = ‖W Wᵀ‖_{S_{p/2}}, and S ≽ W Wᵀ is a matrix inequality."""
    if p == 1:
        return [sum(cp.normNuc(w) for w in weights) <= 1]
    if p < 2 or not math.log2(p).is_integer():
        raise ConfigError("p", p, "must be 1, 2, 4, 8, … for the exact optimum in a Schatten norm")
    constraints = []
    while p > 2:
        squares = [cp.Variable((w.shape[0],) * 2, symmetric=True) for w in weights]
        for square, w in zip(squares, weights, strict=True):
            constraints.append(cp.bmat([[square, w], [w.T, np.eye(w.shape[1])]]) >> 0)
        weights, p = squares, p / 2
    return [*constraints, cp.norm(cp.hstack([cp.vec(w, order="C") for w in weights])) <= 1]


def _blocks(x: Any | Sequence[Any]) -> Blocks:
    arrays = [np.asarray(block, dtype=float) for block in (x if isinstance(x, list | tuple) else [x])]
    return [block[:, None, :] if block.ndim == 2 else block for block in arrays]


def _rows(blocks: Blocks) -> np.ndarray:
    """Return ``[N, D]``, all entries of an example in one row."""
    return np.hstack([block.reshape(len(block), -1) for block in blocks])


def _unflatten(flat: np.ndarray, blocks: Blocks) -> Blocks:
    ends = np.cumsum([block[0].size for block in blocks])[:-1]
    return [part.reshape(block.shape[1:]) for part, block in zip(np.split(flat, ends), blocks, strict=True)]
