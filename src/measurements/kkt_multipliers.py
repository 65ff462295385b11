"""KKT alignment with the best multipliers on the examples near the least margin, in any norm.

θ is a KKT direction of the maximum-margin problem in ‖·‖ if g = Σ λ_i y_i ∇f(x_i; θ) with λ ≥ 0 on the examples of
least margin has ⟨g, θ⟩ = ‖g‖_*·‖θ‖ (Gronich and Vardi, 2026, v1, Theorem C.8). κ of ``norm_margins`` takes the λ of
the loss's gradient; here λ is optimised. By Euler's identity ⟨y_i ∇f(x_i), θ⟩ = L q_i, so

    max_λ κ = L q_min / (‖θ‖ · min_{μ ∈ simplex} ‖Σ μ_i (q_min/q_i) y_i ∇f(x_i; θ)‖_*),    λ_i ∝ μ_i/q_i,

a convex problem: NNLS in ℓ2, an LP in ℓ∞, an SDP in msp. Exponentiated subgradient descent solves it for every norm;
whatever μ it returns, the alignment is one that some multipliers reach, so a lower bound of the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from src.constraints import Count, NonNegative
from src.measurements.members import degree_of, one_member
from src.optimizers.duality import safe_divisor
from src.optimizers.norms import Norm
from src.optimizers.predicted import predicted
from src.types import Measurement, Model, Params, Snapshot, Task


def build(
    task: Task, model: Model, *, near: NonNegative = 0.2, most: Count = 100, iterations: Count = 300, optimizer: dict
) -> Measurement:
    """Measure, in the norm predicted for the optimizer, on the examples with 0 < q_i ≤ (1 + ``near``) q_min:

    ``kkt_alignment``: the best κ found (NaN unless q_min > 0); 1 is stationarity.
    ``kkt_slackness``: Σ λ_i (q_i/q_min − 1)/Σ λ_i of its multipliers, at most ``near``.
    ``kkt_examples``: how many of these examples there are.

    Args:
        task: its training set.
        model: homogeneous of degree L.
        near: relative distance above the least margin.
        most: the examples of least margin that are used at most.
        iterations: of the solver.
        optimizer: config node of the optimizer.

    Raises:
        ConfigError: for a network without a degree of homogeneity.
    """
    degree = degree_of(model, "KKT points of a margin need a homogeneous network")
    norm = predicted(optimizer)

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        if norm is None:
            return {}
        rows = []
        for member in range(len(snapshot.log_risk)):
            x, y, params = one_member(task, snapshot.params, member)
            params = {name: leaf.double() for name, leaf in params.items()}
            rows.append(_member(model, degree, params, x.double(), y.double(), norm, near, most, iterations))
        return {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}

    return measure


def _member(
    model: Model,
    degree: float,
    params: Params,
    x: Tensor,
    y: Tensor,
    norm: Norm,
    near: float,
    most: int,
    iterations: int,
) -> dict[str, float]:
    with torch.no_grad():
        q = (y * model.apply(params, x)).squeeze(0)
    q_min = float(q.min())
    if not q_min > 0:
        return {"kkt_alignment": math.nan, "kkt_slackness": math.nan, "kkt_examples": math.nan}
    chosen = torch.argsort(q, stable=True)[: min(most, int((q <= (1 + near) * q_min).sum()))]
    gradients = example_gradients(model, params, x[chosen], y[chosen])
    shrink = q_min / q[chosen]
    scaled = {name: leaf * shrink.reshape(-1, *[1] * (leaf.ndim - 1)) for name, leaf in gradients.items()}
    mu, smallest = least_dual_norm(scaled, norm, iterations)
    lam = mu * shrink
    return {
        "kkt_alignment": degree * q_min / (smallest * float(norm.value(params))),
        "kkt_slackness": float((lam * (1 / shrink - 1)).sum() / lam.sum()),
        "kkt_examples": float(len(chosen)),
    }


def example_gradients(model: Model, params: Params, x: Tensor, y: Tensor) -> Params:
    """Return y_i ∇f(x_i; θ) for K examples and one member, leaves ``[K, ...]``."""
    copies = {name: leaf.expand(len(y), *leaf.shape[1:]).clone().requires_grad_() for name, leaf in params.items()}
    with torch.enable_grad():  # each copy of the network sees one example
        outputs = model.apply(copies, x[:, None]).squeeze(-1)
        grads = torch.autograd.grad((y * outputs).sum(), tuple(copies.values()))
    return dict(zip(copies, grads, strict=True))


def least_dual_norm(vectors: Params, norm: Norm, iterations: int) -> tuple[Tensor, float]:
    """Return μ in the simplex ``[K]`` with a small ‖Σ μ_i v_i‖_*, and this norm, by exponentiated subgradient descent.

    ∂‖g‖_*/∂μ_i = ⟨v_i, u⟩ with u the steepest direction at g, and ‖g‖_* = ⟨g, u⟩ = Σ μ_i ⟨v_i, u⟩. Steps are c/√k over
    the spread of the subgradient. They are taken in single precision; the norm of the result is not.
    """
    exact = torch.cat([leaf.flatten(1) for leaf in vectors.values()], 1)  # [K, P]
    flat = (exact / safe_divisor(exact.abs().max())).float()
    log_mu = torch.full((len(flat),), -math.log(len(flat)), dtype=flat.dtype, device=flat.device)
    best, smallest = log_mu.exp(), math.inf
    for k in range(iterations):
        mu = log_mu.exp()
        g = _unflatten(mu @ flat, vectors)
        slope = flat @ torch.cat([leaf.flatten() for leaf in norm.steepest(g).values()])
        size = float(mu @ slope)
        if size < smallest:
            best, smallest = mu, size
        spread = float(slope.max() - slope.min())
        if spread <= 0:
            break
        log_mu = torch.log_softmax(log_mu - 2 * slope / (spread * math.sqrt(k + 1)), 0)
    best = best.to(exact)
    return best, float(norm.dual(_unflatten(best @ exact, vectors)))


def _unflatten(flat: Tensor, like: Params) -> Params:
    """Return a vector ``[P]`` as leaves ``[1, ...]`` of the shapes of ``like [K, ...]``."""
    sizes = [leaf[0].numel() for leaf in like.values()]
    parts = flat.split(sizes)
    return {name: part.view(1, *leaf.shape[1:]) for (name, leaf), part in zip(like.items(), parts, strict=True)}
