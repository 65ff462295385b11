"""Figures of networks trained by Muon on the clusters of paper 1 (B1)."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.report.figures.style import BAND, Plot, canvas, doubling_lines, formula, legend, spread

TRAINERS = {
    "gradient_flow": "gradient flow",
    "nmd": "NMD",
    "spectral": "Muon without momentum",
    "muon": "Muon",
}


def radius_vs_k(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F1: smallest perturbation and certificate over √d against k, with closed forms and the ceiling."""
    final = _final(frame)
    k = np.sort(final["data_k"].unique())
    spectral = _optimum(final)
    panels = [
        pandas.concat([
            spread(final, "data_k", f"{column} / data_d**0.5", "trainer", panel),
            formula(k, np.full(len(k), 0.5**0.5), "ceiling √(1/2)", panel),
            formula(k, spectral, "spectral optimum γ*/√d", panel),
            formula(k, 1 / np.sqrt(k), "feature averaging 1/√k", panel),
        ])
        for column, panel in (("attack_median", "smallest perturbation found"), ("certificate_median", "certificate"))
    ]  # fmt: skip
    return _drawn(panels, ["radius / √d", "radius / √d"])


def rank_and_margin(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F2: stable rank of W, and the ℓ2 margin of the balanced network over its optimum, against k."""
    final = _final(frame)
    k = np.sort(final["data_k"].unique())
    spectral = 2**0.5 * _optimum(final)
    ranks, margins = "stable rank", "ℓ2 margin"
    panels = [
        pandas.concat([
            spread(final, "data_k", "stable_rank", "trainer", ranks),
            formula(k, k, "spectral optimum", ranks),
            formula(k, np.full(len(k), 2), "feature averaging", ranks),
        ]),
        pandas.concat([
            spread(final, "data_k", "rescaled_margin_ratio", "trainer", margins),
            formula(k, spectral, "spectral optimum", margins),
            formula(k, np.ones(len(k)), "feature averaging", margins),
        ]),
    ]  # fmt: skip
    return _drawn(panels, ["stable rank of W", "ℓ2 margin / optimum"])


def _final(frame: pandas.DataFrame) -> pandas.DataFrame:
    final = frame[frame["final"] & frame["vars_trainer"].isin(TRAINERS)]
    return final.assign(trainer=final["vars_trainer"].map(TRAINERS))


def _optimum(final: pandas.DataFrame) -> pandas.Series:
    """Return γ*/√d for every k, in increasing order."""
    return (final["msp_optimum"] / final["data_d"] ** 0.5).groupby(final["data_k"]).first()


def _drawn(panels: list[pandas.DataFrame], labels: list[str]) -> tuple[Figure, pandas.DataFrame]:
    figure, axes = canvas(2, 2.9)
    for one, data, label in zip(axes, panels, labels, strict=True):
        _panel(one, data, label)
    axes[-1].set_xlabel("clusters k")
    legend(axes[0])
    return figure, pandas.concat(panels)


def _panel(axes: Axes, data: pandas.DataFrame, label: str) -> None:
    doubling_lines(axes, data)
    axes.set(ylabel=label, title=data["panel"].iloc[0])


PLOTS = (
    Plot(
        "F1",
        "Robust radius against the number of clusters, by optimizer",
        f"Smallest perturbation found (above) and certificate (below), over √d, medians over test points. {BAND}",
        "ℓ2 bias: √(d/k) · spectral bias: about γ* ≥ √d/2√2 · any classifier: about √(d/2)",
        "Two log–log panels of radii over √d against k, with three grey lines of closed forms.",
        ("bridge_muon_clusters",),
        ("attack_median", "certificate_median", "msp_optimum", "data_k", "data_d", "vars_trainer"),
        radius_vs_k,
    ),
    Plot(
        "F2",
        "What a spectral bias costs",
        f"Stable rank of the first layer (above), and the ℓ2 margin of the balanced network over its optimum. {BAND}",
        "‖W‖_F²/‖W‖_sp²: 2 and k · ℓ2 margin over its optimum: 1 and √2·γ*/√d",
        "Two log–log panels against k: stable rank, and ℓ2 margin over its optimum, with grey lines of closed forms.",
        ("bridge_muon_clusters",),
        ("stable_rank", "rescaled_margin_ratio", "msp_optimum", "data_k", "data_d", "vars_trainer"),
        rank_and_margin,
    ),
)
