"""Figures of training: KKT conditions (F4), a start at the robust network (F8), weights of neurons (F9)."""

from __future__ import annotations

import numpy as np
import pandas
import seaborn
from matplotlib.figure import Figure

from src.report.figures.style import (
    BAND,
    COLOURS,
    DASHES,
    Plot,
    canvas,
    formula,
    is_curve,
    legend,
    limits,
    lines,
    needed,
    spread,
)

KKT = {"kkt_residual": "stationarity residual", "slackness": "slackness", "margin_ratio": "margin / O1"}


def trajectory(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F4: residual, slackness and margin against the step, one line per initialisation scale."""
    steps = frame[frame["step"] > 0]
    data = pandas.concat([spread(steps, "step", column, "model_init_scale", label) for column, label in KKT.items()])
    data["series"] = data["series"].map("{:g}".format)
    figure, panels = canvas(len(KKT), 1.9)
    for axes, label in zip(panels, KKT.values(), strict=True):
        lines(axes, data[data["panel"] == label], markers=False)
        axes.set_xscale("log")
        axes.set_yscale("linear" if label == "margin / O1" else "log")
        axes.set(ylabel=label)
    for axes in panels:  # slackness is not finite at first
        limits(axes, x=(0.9 * data["x"].min(), 1.5 * data["x"].max()))
    panels[-1].axhline(1, color="0.25", lw=1, ls="--")
    panels[-1].set(xlabel="step")
    legend(panels[0], title="scale of the initialisation", columns=4)
    return figure, data


def robust_start(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F8: attack radius and KKT residual of training that starts at the robust network."""
    attack, residual = "ℓ2 attack radius / √(d/2)", "stationarity residual"
    k = np.sort(frame["data_k"].unique())
    data = pandas.concat([
        spread(frame, "step", "attack_median / (data_d / 2)**0.5", "data_k", attack),
        spread(frame, "step", "kkt_residual", "data_k", residual),
        # O8, localised neurons: √(d/(1 + k/2));  O2, averaged features: √(d/k)
        *[formula([0, frame["step"].max()], np.sqrt(2 / (1 + c / 2)), f"O8, k = {c}", attack) for c in k],
        *[formula([0, frame["step"].max()], np.sqrt(2 / c), f"O2, k = {c}", attack) for c in k],
    ])  # fmt: skip
    figure, panels = canvas(2, 2.4)
    colour = dict(zip(k, COLOURS, strict=False))
    for axes, panel in zip(panels, (attack, residual), strict=True):
        part = data[data["panel"] == panel]
        lines(axes, part[part["n"] > 0], colour)
        for c in k if panel == attack else ():
            for name, dashes in (("O8", DASHES[1]), ("O2", DASHES[4])):
                level = part.loc[part["series"] == f"{name}, k = {c}", "y"].iloc[0]
                axes.axhline(level, color=colour[c], dashes=dashes, lw=1, alpha=0.8)
        axes.set_xscale("symlog", linthresh=1)
        axes.set(ylabel=panel, xlim=(0, 1.2 * frame["step"].max()))
    panels[1].set(xlabel="step")
    legend(panels[0], title="clusters k (level lines, dashed: O8, dotted: √(d/k))", columns=4)
    return figure, data


def neurons(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F9: cosine of each neuron with each cluster mean, neurons sorted by contribution, for one network."""
    both = frame["neuron_mean_cosine"].map(is_curve) & frame["neuron_contribution"].map(is_curve)
    final = needed(frame[frame["final"] & both], "cosines of neurons")
    network = final.sort_values(["model_init_scale", "cell", "member"]).iloc[0]
    contribution = np.array(network["neuron_contribution"], dtype=float)
    cosine = np.array(network["neuron_mean_cosine"], dtype=float).reshape(len(contribution), -1)
    neuron, mean = np.indices(cosine.shape)
    data = pandas.DataFrame({
        "neuron": neuron.ravel() + 1,
        "mean": mean.ravel() + 1,
        "cosine": cosine.ravel(),
        "contribution": np.repeat(contribution, cosine.shape[1]),
        "cell": network["cell"],
        "seed": network["seed"],
    })  # fmt: skip
    figure, (axes,) = canvas(height=3.2)
    limit = float(np.abs(cosine[np.isfinite(cosine)]).max(initial=0)) or 1.0
    bar = {"label": "cosine with the mean"}
    grid = pandas.DataFrame(cosine, range(1, len(cosine) + 1), range(1, cosine.shape[1] + 1))
    ticks = {"xticklabels": max(1, cosine.shape[1] // 16), "yticklabels": max(1, len(cosine) // 8)}
    seaborn.heatmap(grid, ax=axes, cmap="vlag", vmin=-limit, vmax=limit, cbar_kws=bar, rasterized=True, **ticks)
    axes.set(xlabel="cluster", ylabel="neuron, by |v|·‖w‖")
    return figure, data


PLOTS = (
    Plot(
        "F4",
        "Stationarity, slackness and margin during training",
        "Stationarity residual, complementary slackness and normalised margin over the closed form O1 during training, "
        f"one line per scale of the initialisation. {BAND.rpartition(';')[0]}.",
        "‖θ − Σλᵢyᵢ∇N(xᵢ)‖/‖θ‖ · Σλᵢ(qᵢ/q_min − 1)/Σλᵢ · γ/γ(O1)",
        "Three panels over the training step on a log axis: stationarity residual, slackness, margin over O1.",
        ("cluster_trajectory",),
        ("model_init_scale", *KKT),
        trajectory,
    ),
    Plot(
        "F8",
        "Training that starts at the robust network",
        "Training started at the robust network of Theorem 4.1: median norm of the smallest perturbation found (above) "
        f"and stationarity residual (below). Dashed: neurons aligned with a cluster each (O8). Dotted: √(d/k). {BAND}",
        "√(d/2) → below √(d/(1 + k/2))",
        "Two panels over the training step: attack radius over √(d/2), and stationarity residual, one line per k.",
        ("cluster_robust_start",),
        ("data_k", "data_d", "attack_median", "kkt_residual"),
        robust_start,
    ),
    Plot(
        "F9",
        "Neurons against cluster means",
        "Cosine of the weights of each neuron with each cluster mean at the end of training, neurons sorted by |v|·‖w‖ "
        "(largest on top). One network: first seed, smallest initialisation.",
        "w₊ ∝ Σ_{Q₊} μ, w₋ ∝ Σ_{Q₋} μ",
        "Heat map of cosines, neurons down and cluster means across.",
        ("cluster_trajectory",),
        ("model_init_scale", "neuron_mean_cosine", "neuron_contribution"),
        neurons,
    ),
)
