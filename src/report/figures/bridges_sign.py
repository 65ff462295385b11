"""Figure of networks trained by Signum, Adam and the hybrids in both frames of the cluster means (B2)."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.figure import Figure

from src.report.figures.style import COLOURS, MARKERS, Plot, canvas, legend, needed

TRAINERS = {
    "gradient_flow": "gradient flow",
    "ngd": "NGD",
    "muon_signum": "Muon, Signum",
    "muon_adam": "Muon, Adam",
    "signum": "Signum",
    "adam_short": "Adam, β₂ = .9",
    "adam": "Adam, β₂ = .999",
}
PANELS = {
    "smallest ℓ2 attack / √(d/k)": "attack_median / (data_d / data_k)**0.5",
    "smallest ℓ∞ attack · √k": "linf_attack_median * data_k**0.5",
    "test error": "test_error",
}


def frames(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F10: attacks and test error of every trainer, in both frames, for the noises."""
    final = needed(frame[frame["final"] & frame["vars_trainer"].isin(TRAINERS)], "a final row")
    final = final.assign(series=final["data_frame"] + ", σ = " + final["data_sigma"].map("{:g}".format))
    parts = []
    for panel, quantity in PANELS.items():
        rows = final.assign(y=final.eval(quantity, engine="python"))
        by = rows[np.isfinite(rows["y"].astype(float))].groupby(["vars_trainer", "series"])
        part = by.agg(y=("y", "median"), low=("y", "min"), high=("y", "max"), n=("y", "size")).reset_index()
        parts.append(part.assign(panel=panel))
    data = pandas.concat(parts).rename(columns={"vars_trainer": "x"})
    shown = [name for name in TRAINERS if name in set(data["x"])]
    figure, panels = canvas(len(PANELS), 2.3)
    for axes, panel in zip(panels, PANELS, strict=True):
        part = data[data["panel"] == panel]
        for index, (series, points) in enumerate(part.groupby("series")):
            place = np.array([shown.index(name) for name in points["x"]]) + 0.12 * (index - 1.5)
            spread = [points["y"] - points["low"], points["high"] - points["y"]]
            marker = {"fmt": MARKERS[index], "color": COLOURS[index], "label": series, "elinewidth": 1}
            axes.errorbar(place, points["y"], yerr=spread, **marker)
        axes.set(title=panel, xticks=range(len(shown)), xticklabels=[])
        if panel != "test error":
            axes.set_yscale("log")
    panels[-1].set_xticks(range(len(shown)), [TRAINERS[name] for name in shown], rotation=40, ha="right")
    legend(panels[0])
    return figure, data


PLOTS = (
    Plot(
        "F10",
        "The frame of the means decides what Signum and Adam learn",
        "Markers: median over seeds; bars: smallest to largest seed. Rules on the left commute with rotations of the "
        "input: both frames have one law. Predictions in the random frame: √(2/π) = .80 (ℓ2) and 1.13 (ℓ∞) for Signum "
        "and Adam, 1 and 1.25 for gradient flow. On the axes, Signum needs perturbations of length .7 to 2 only.",
        "smallest attack (ℓ∞ bias): √(2/π)·√(d/k) in a random frame, 2√d/√(2d + 2k) on the axes",
        "Points per optimizer: smallest ℓ2 and ℓ∞ attack and test error, for random frame and axes.",
        ("bridge_sign_clusters",),
        ("vars_trainer", "data_frame", "data_sigma", "attack_median", "linf_attack_median", "test_error"),
        frames,
    ),
)
