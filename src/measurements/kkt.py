"""Distance of a two-layer ReLU network to a KKT point of max-margin: min ½‖θ‖² subject to yᵢN(xᵢ) ≥ 1 for all i.

Stationarity is θ = Σᵢ λᵢ yᵢ gᵢ with λ ≥ 0 and gᵢ in the Clarke subdifferential of N(xᵢ; ·). In neuron j,

    gᵢⱼ = ( vⱼ sᵢⱼ (xᵢ, 1),  relu(wⱼ·xᵢ + bⱼ) ),   sᵢⱼ = 1 if the neuron is on, 0 if off, any of [0, 1] at the kink.

In a trained network neurons of one label are just below their kinks on the points of the other label, where sᵢⱼ = 0 is
not the right subgradient. So the residual is computed twice, with the s of the network and with s free near the kinks.
The products μᵢⱼ = λᵢsᵢⱼ ∈ [0, λᵢ] make both least-squares problems convex.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from scipy.optimize import nnls
from torch import Tensor

from src.constraints import Count, Positive
from src.measurements.margin import slackness
from src.models.two_layer_relu import neurons
from src.types import Measurement, Model, Snapshot, Task

COLUMNS = ("kkt_residual", "kkt_residual_clarke", "slackness", "dual_norm_ratio", "kkt_kinks")


class Stationarity(NamedTuple):
    """The problem of one member: θ = (incoming, v) and the data, with x̃ᵢ = (xᵢ, 1).

    ``x [n, r + 1]``, ``y [n]``, ``incoming [m, r + 1]``, ``v [m]``; ``on`` and ``kink`` are masks ``[n, m]``.
    """

    x: Tensor
    y: Tensor
    incoming: Tensor
    v: Tensor
    on: Tensor
    kink: Tensor

    @property
    def hidden(self) -> Tensor:
        """yᵢ·relu(wⱼ·xᵢ + bⱼ), ``[n, m]``."""
        return self.y[:, None] * torch.relu(self.x @ self.incoming.mT)

    def residual(self, lam: Tensor, mu: Tensor) -> Tensor:
        """Return the scalar ‖θ − Σᵢ λᵢyᵢgᵢ‖ / ‖θ‖ for multipliers λ ``[n]`` and, at the kinks, μ ``[n, m]``."""
        slope = torch.where(self.kink, mu, self.on * lam[:, None]) * self.y[:, None]
        incoming = self.incoming - self.v[:, None] * (slope.mT @ self.x)
        v = self.v - self.hidden.mT @ lam
        squared = incoming.square().sum() + v.square().sum()
        return (squared / (self.incoming.square().sum() + self.v.square().sum())).sqrt()


def build(task: Task, model: Model, *, kink: Positive = 1e-3, iterations: Count = 3000) -> Measurement:
    """Measure the KKT conditions of a two-layer ReLU network; on others the measurement raises a ConfigError.

    ``kkt_residual``: relative distance of θ to the cone of the yᵢgᵢ, with the s of the network.
    ``kkt_residual_clarke``: the same with sᵢⱼ ∈ [0, 1] near the kinks; at most ``kkt_residual``.
    ``slackness``: Σλᵢ(qᵢ/min q − 1)/Σλᵢ with the multipliers of the latter (NaN if a point is misclassified).
    ``dual_norm_ratio``: ‖θ‖²/(2Σλᵢ) after scaling θ to margin 1; 1 at a KKT point.
    ``kkt_kinks``: number of pairs near a kink.

    Args:
        task: its training set.
        model: a two-layer ReLU network.
        kink: a pair is near its kink if |wⱼ·xᵢ + bⱼ| ≤ kink·‖(wⱼ, bⱼ)‖·‖(xᵢ, 1)‖.
        iterations: most steps of the solver; fewer can only raise ``kkt_residual_clarke``.
    """

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor]:
        incoming, v = (leaf.detach().double() for leaf in neurons(snapshot.params, "kkt"))
        x = torch.cat([task.x, torch.ones_like(task.x[..., :1])], -1).to(incoming).expand(len(v), -1, -1)
        y = task.y.to(incoming).expand(len(v), -1)
        rows = [_member(*leaves, kink, iterations) for leaves in zip(x, y, incoming, v, strict=True)]
        return {name: torch.stack([row[name] for row in rows]).cpu() for name in rows[0]}

    return measure


def _member(x: Tensor, y: Tensor, incoming: Tensor, v: Tensor, kink: float, iterations: int) -> dict[str, Tensor]:
    pre = x @ incoming.mT
    if not pre.isfinite().all():
        return {name: torch.tensor(torch.nan, dtype=torch.float64) for name in COLUMNS}
    scale = torch.linalg.vector_norm(x, dim=-1)[:, None] * torch.linalg.vector_norm(incoming, dim=-1)
    near = (pre.abs() <= kink * scale) & (v.square() > 0)
    as_is = Stationarity(x, y, incoming, v, pre > 0, torch.zeros_like(near))
    lam = nonnegative_multipliers(as_is)
    clarke = as_is._replace(kink=near)
    lam_clarke, mu = clarke_multipliers(clarke, lam, iterations)

    q = as_is.hidden @ v
    norm_squared = incoming.square().sum() + v.square().sum()
    # at margin 1, θ̂ = θ/√(min q) has the multipliers of θ:  ‖θ̂‖² / 2Σλᵢ
    ratio = norm_squared / q.min() / (2 * lam_clarke.sum())
    return {
        "kkt_residual": as_is.residual(lam, torch.zeros_like(mu)),
        "kkt_residual_clarke": clarke.residual(lam_clarke, mu),
        "slackness": slackness(q, lam_clarke),
        "dual_norm_ratio": torch.where(q.min() > 0, ratio, torch.nan),
        "kkt_kinks": near.sum().double(),
    }


def nonnegative_multipliers(problem: Stationarity) -> Tensor:
    """Return λ ≥ 0 ``[n]`` of least residual without kinks: non-negative least squares on the n×n Gram matrix."""
    x, y, v, on, hidden = problem.x, problem.y, problem.v, problem.on.to(problem.x), problem.hidden
    # ⟨yᵢgᵢ, yₖgₖ⟩ = yᵢyₖ x̃ᵢ·x̃ₖ Σⱼ vⱼ²sᵢⱼsₖⱼ + Σⱼ hᵢⱼhₖⱼ  and  ⟨yᵢgᵢ, θ⟩ = 2 qᵢ
    gram = torch.outer(y, y) * (x @ x.mT) * ((v * on) @ (v * on).mT) + hidden @ hidden.mT
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 1e-13 * values[-1]
    if not kept.any():
        return torch.zeros_like(y)
    # ‖root·λ − target‖² with rootᵀroot = Gram has n unknowns and at most n equations
    root = values[kept].sqrt()[:, None] * vectors[:, kept].mT
    target = vectors[:, kept].mT @ (2 * hidden @ v) / values[kept].sqrt()
    lam, _ = nnls(root.cpu().numpy(), target.cpu().numpy(), maxiter=30 * len(y))
    return torch.from_numpy(lam).to(x)


def clarke_multipliers(
    problem: Stationarity, start: Tensor, iterations: int, *, check_every: int = 100, gain: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Return λ ``[n]`` and μ ``[n, m]``, 0 ≤ μᵢⱼ ≤ λᵢ, of least residual, by accelerated projected gradient descent.

    Start at λ = ``start`` with the s of the network, and reset the momentum when it is an ascent direction. Stop once
    ``check_every`` steps lower the residual by less than the fraction ``gain``, and return the best iterate checked.
    """
    x, y, v, hidden, kink = problem.x, problem.y, problem.v, problem.hidden, problem.kink
    on = (problem.on & ~kink).to(x)
    gram = torch.outer(y, y) * (x @ x.mT)
    hidden_gram = hidden @ hidden.mT
    pull, hidden_pull = y[:, None] * (x @ problem.incoming.mT), hidden @ v

    # In the metric Σ aᵢλᵢ² + Σ vⱼ²μᵢⱼ² small neurons are as well conditioned as large ones, namely like x̃x̃ᵀ.
    a = (on * v.square()).sum(1) + hidden.square().sum(1) / gram.diagonal()
    a = a.clamp(min=1e-12 * float(a.max()) + 1e-300)
    b = v.square() * kink
    root = a.sqrt()
    lipschitz = _largest(gram) + _largest(hidden_gram / torch.outer(root, root))

    lam, mu = start, torch.where(kink & problem.on, start[:, None], 0)
    ahead, t = (lam, mu), 1.0
    best, best_residual = (lam, mu), problem.residual(lam, mu)
    for step in range(1, iterations + 1):
        # −∇ of ½‖θ − Σ λᵢyᵢgᵢ‖² along μ, and along λ
        slope = v * (on * ahead[0][:, None] + ahead[1])
        along_mu = v * (pull - gram @ slope)
        along_lam = (on * along_mu).sum(1) + hidden_pull - hidden_gram @ ahead[0]
        new = _project(
            ahead[0] + along_lam / (lipschitz * a),
            torch.where(kink, ahead[1] + along_mu / (lipschitz * v.square()), 0),
            a,
            b,
        )
        moved = new[0] - lam, new[1] - mu
        back = (a * (ahead[0] - new[0]) * moved[0]).sum() + (b * (ahead[1] - new[1]) * moved[1]).sum()
        t = 1.0 if back > 0 else t
        t, last = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        lam, mu = new
        ahead = lam + (last - 1) / t * moved[0], mu + (last - 1) / t * moved[1]
        if step % check_every == 0 or step == iterations:
            residual = problem.residual(lam, mu)
            stalled = residual > (1 - gain) * best_residual
            if residual < best_residual:
                best, best_residual = (lam, mu), residual
            if stalled:
                break
    return best


def _largest(symmetric: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(symmetric)[-1]


def _project(lam: Tensor, mu: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Project on 0 ≤ μᵢⱼ ≤ λᵢ in the metric (a, b).

    The new λᵢ is the largest weighted mean of λᵢ and the k largest μᵢⱼ over all k ≥ 0 (isotonic regression).
    """
    descending, order = mu.sort(dim=-1, descending=True)
    weight = b.gather(-1, order)
    means = ((a * lam)[:, None] + (weight * descending).cumsum(-1)) / (a[:, None] + weight.cumsum(-1))
    lam = torch.maximum(lam, means.amax(-1)).clamp(min=0)
    return lam, torch.minimum(mu.clamp(min=0), lam[:, None])
