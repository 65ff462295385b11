"""Networks on the same clusters against the ceiling √(d/2) (F30)."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.figure import Figure

from src.report.figures.style import BAND, Plot, canvas, doubling_lines, formula, legend, spread

NETWORKS = {
    "prelu": "normalised cubes",
    "plain": "cubes, no normalisation",
    "large": "normalised cubes, large start",
    "relu": "ReLU",
}


def ceiling(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F30: radii of every network over √d against the number of clusters, and the closed forms."""
    final = frame[frame["final"]]
    own = final[final["experiment"] == "bridge_robust_training"]
    parts = [
        spread(own[own["vars_network"] == network], "data_k", "boundary_median / data_d**0.5", label)
        for network, label in NETWORKS.items()
    ]
    parts.append(
        spread(own[own["vars_network"] == "prelu"], "data_k", "nearest_median / data_d**0.5", "nearest cluster")
    )
    muon = final[final["experiment"] == "bridge_muon_clusters"]
    if len(muon):
        muon = muon[muon["vars_trainer"] == "muon"]
        parts.append(spread(muon, "data_k", "attack_median / data_d**0.5", "ReLU, trained by Muon"))
    k = np.sort(final["data_k"].unique())
    parts += [formula(k, np.full(len(k), 0.5**0.5), "√(1/2), the ceiling"), formula(k, k**-0.5, "√(1/k)")]
    data = pandas.concat(parts)
    data = data[data["y"] > 0]
    figure, (axes,) = canvas(height=3.4)
    doubling_lines(axes, data)
    axes.set(xlabel="clusters k", ylabel="smallest perturbation found / √d")
    legend(axes)
    return figure, data


PLOTS = (
    Plot(
        "F30",
        "One ceiling: networks on the same clusters",
        "Smallest perturbation found, median over test points, over √d, of networks trained on the same points "
        "with the squared loss; the ReLU network trained by Muon has the exponential loss. "
        f"{BAND} Grey: under attacks of radius √(d/2) any classifier has an error of at least "
        "min(k₊, k₋)/k; √(d/k) is the radius of feature averaging.",
        "ceiling √(d/2) · ReLU √(d/k)",
        "Log–log plot of radii over the number of clusters for several networks, below a grey line at the ceiling.",
        ("bridge_robust_training", "bridge_muon_clusters"),
        ("data_k", "data_d", "vars_network", "boundary_median"),
        ceiling,
    ),
)
