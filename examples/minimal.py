"""Which margin does an optimizer maximise, and which small vector flips the network that it finds?

Gronich and Vardi (2026): on smooth homogeneous networks, limit directions of normalised steepest descent in a norm are
KKT points of the largest margin in that norm; with ReLU, as here, under a further assumption. Frei, Vardi, Bartlett and
Srebro (2023): where the data are k clusters in R^d, one vector of length about √(d/k) flips the outputs at nearly all
points, although a robust network exists. Run: python examples/minimal.py
"""

import torch

from src.api import data, measurements, models, objectives, optimizers, train

torch.set_num_threads(1)  # the matrices are small: further threads would only wait

# Data: k = 8 clusters with orthogonal means of length √d, half of them labelled −1. One data set for each seed.
d, k = 128, 8
task = data.clusters(seeds=[0, 1, 2], k=k, d=d, n=32, sigma=0.1, coordinates="full")

# Model: f(x) = Σⱼ vⱼ relu(wⱼ·x + bⱼ), homogeneous of degree L = 2 in θ = (w, b, v). One network for each seed.
model = models.two_layer_relu(task, width=16, init_scale=0.1)

# Optimizers: normalised momentum descent in ℓ2, in ℓ∞ (Signum) and in msp, the largest spectral norm (Muon).
rules = {
    "l2": optimizers.nmd(lr=0.5),
    "linf": optimizers.signum(lr=0.02),
    "msp": optimizers.muon(lr=0.2),
}

# Training: full batch, logistic loss, η_t = η₀ (t + 1)^−0.8.
networks = {norm: train(task, model, objectives.logistic(), rule, steps=500) for norm, rule in rules.items()}

# Margins: γ = min_i y_i f(x_i) / ‖θ‖^L, in each norm. Prediction: the largest of a column is on the diagonal.
margins = {own: measurements.norm_margins(result, norms=[*rules]) for own, result in networks.items()}
print("margin, median of 3 seeds   " + "".join(f"{'in ' + norm:>10}" for norm in rules))
for own, columns in margins.items():
    print(f"steepest descent in {own:<8}" + "".join(f"{columns[f'gamma_{norm}'].median():10.3f}" for norm in rules))

# Universal perturbation: the shortest z along Σ_q y_q μ_q with y f(x − y z) < 0 at 99 % of the test points.
print(f"\n{'':28}    |z|/|x|   flipped by a random vector of that length")
for own, result in networks.items():
    length = measurements.universal(result)["z_r99"]
    u = torch.randn(len(length), 1, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u *= length.reshape(-1, 1, 1) / u.norm(dim=-1, keepdim=True)
    flipped = task.y_test * result.outputs(task.x_test - task.y_test.unsqueeze(-1) * u) < 0
    print(f"steepest descent in {own:<8}{length.median() / d**0.5:10.2f}{flipped.double().mean():10.1%}")
