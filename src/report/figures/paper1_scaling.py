"""Figures of radii: against k (F1), d (F2), width (F6) and balance (F7), and all flip curves (F3)."""

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
    doubling_lines,
    formula,
    is_curve,
    legend,
    limits,
    lines,
    needed,
    spread,
)

SCALING = ("cluster_k_scaling", "cluster_d_scaling", "cluster_width")
RADII = {
    "universal z, half flipped": "z_r50",
    "smallest perturbation found": "attack_median",
    "certified": "certificate_median",
    "robust network: found": "robust_attack_median",
    "robust network: certified": "robust_certificate_median",
}


def radius_vs_k(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F1: radii against the number of clusters."""
    return _radii(frame, "data_k", "clusters k")


def radius_vs_d(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F2: radii against the dimension."""
    return _radii(frame, "data_d", "dimension d")


def _radii(frame: pandas.DataFrame, swept: str, label: str) -> tuple[Figure, pandas.DataFrame]:
    final = frame[frame["final"]]
    sizes = final[["data_k", "data_d"]].drop_duplicates().sort_values(swept)
    x, k, d = sizes[swept], sizes["data_k"], sizes["data_d"]
    data = pandas.concat([
        *[spread(final, swept, column, name) for name, column in RADII.items() if column in final],
        formula(x, np.sqrt(d / k), "√(d/k)"),
        formula(x, np.sqrt(d / 2), "√(d/2)"),
        formula(x, np.sqrt(d) / 2, "√d/2"),
    ])  # fmt: skip
    figure, (axes,) = canvas(height=3.4)
    doubling_lines(axes, data)
    axes.set(xlabel=label, ylabel="ℓ2 norm of the perturbation")
    legend(axes)
    return figure, data


def flip_collapse(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F3: fraction of points flipped by z over its norm / closed-form radius, one line per configuration.

    The sweep over noise, which violates the assumption by far, has its own panel.
    """
    final = needed(frame[frame["final"] & frame["curve_flip"].map(is_curve)], "a flip curve")
    curves = []
    for (experiment, cell), members in final.groupby(["experiment", "cell"]):
        radius = np.array(members["curve_radius"].tolist(), dtype=float)
        flip = np.array(members["curve_flip"].tolist(), dtype=float)
        curve = pandas.DataFrame({"x": np.median(radius, 0), "y": np.median(flip, 0)})
        curve = curve.assign(low=flip.min(0), high=flip.max(0), n=len(members), converged=members["converged"].mean())
        curves.append(curve.assign(series=cell, panel=experiment, sigma=members["data_sigma"].iloc[0]))
    data = pandas.concat(curves)
    noisy = data["panel"] == "cluster_noise"
    figure, (above, below) = canvas(2, 2.5)
    for index, (experiment, part) in enumerate(data[~noisy].groupby("panel", sort=False)):
        for _, curve in part.groupby("series"):
            style = {"color": COLOURS[index % len(COLOURS)], "dashes": DASHES[index % len(DASHES)]}
            style["label"] = experiment.removeprefix("cluster_")
            above.plot(curve["x"], curve["y"], lw=0.9, alpha=0.8, **style)
    sigmas = np.sort(data.loc[noisy, "sigma"].unique())
    for sigma, colour in zip(sigmas, seaborn.color_palette("rocket_r", len(sigmas) + 1)[1:], strict=True):
        curves = data[noisy & (data["sigma"] == sigma)].groupby("series")
        for number, (_, curve) in enumerate(curves):
            below.plot(curve["x"], curve["y"], lw=0.9, color=colour, label=None if number else f"σ = {sigma:g}")
    for axes in (above, below):
        axes.axvline(1, color="0.25", lw=1, ls="--")
        axes.set(ylabel="fraction of points flipped", ylim=(-0.03, 1.03))
    above.set(xlim=(0.8, 1.2), xticks=[0.8, 0.9, 1, 1.1, 1.2])
    below.set(xlabel="‖z‖₂ / closed-form radius")
    if len(sigmas):
        below.legend(title="sweep over noise", title_fontsize=7.5, handlelength=1.5)
    legend(above, title="one line per configuration of", columns=3)
    return figure, data


def width(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F6: test error and radius against weights per training point."""
    final = frame[frame["final"]]
    reduced = final["data_coordinates"] == "reduced"
    coordinates = np.where(reduced, final["data_k"] + final["data_n"], final["data_d"])
    # w: m·r, b: m, v: m
    final = final.assign(weights_per_point=final["model_width"] * (coordinates + 2) / final["data_n"])
    data = pandas.concat([
        spread(final, "weights_per_point", "test_error", "test error", "error"),
        spread(final, "weights_per_point", "z_r50 / (data_d / data_k)**0.5", "universal z", "radius"),
        spread(final, "weights_per_point", "attack_median / (data_d / data_k)**0.5", "smallest found", "radius"),
        formula(np.sort(final["weights_per_point"].unique()), 1.0, "√(d/k)", "radius"),
    ])  # fmt: skip
    figure, (above, below) = canvas(2, 2.2)
    for axes, panel, label in ((above, "error", "test error"), (below, "radius", "ℓ2 norm / √(d/k)")):
        lines(axes, data[data["panel"] == panel])
        axes.set_xscale("log")
        axes.set(ylabel=label)
    limits(above, y=(-0.02, max(0.1, 1.1 * float(data.loc[data["panel"] == "error", "high"].max()))))
    below.set(xlabel="weights per training point")
    legend(below, columns=3)
    return figure, data


def balance(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F7: radius against the fraction of the rarer label, with the growth that the theorem allows."""
    final = frame[frame["final"] & frame["data_negative"].notna()]
    rarer = np.minimum(final["data_negative"], final["data_k"] - final["data_negative"])
    final = final.assign(c=(rarer / final["data_k"]).astype(float))
    c = np.sort(final["c"].unique())
    data = pandas.concat([
        spread(final, "c", "z_r50 / (data_d / data_k)**0.5", "universal z"),
        spread(final, "c", "attack_median / (data_d / data_k)**0.5", "smallest found"),
        formula(c, 1 / c, "1/c: allowed by the theorem"),
        formula(c, np.ones_like(c), "√(d/k)"),
    ])  # fmt: skip
    figure, (axes,) = canvas(height=2.9)
    doubling_lines(axes, data)
    axes.set(xlabel="fraction c of clusters with the rarer label", ylabel="ℓ2 norm / √(d/k)")
    legend(axes)
    return figure, data


PLOTS = (
    Plot(
        "F1",
        "Radii against the number of clusters",
        "Norm of the universal perturbation z that flips half of the test points, smallest perturbation found per "
        "point and certified radius (medians over points), for the trained network and the robust one of Theorem 4.1 "
        f"on the same data, at fixed d. Markers of equal radii overlap, the largest below. {BAND} Grey: closed forms.",
        "trained: √(d/k) · robust: certified √d/2, flips from √(d/2)",
        "Log–log plot of perturbation norms against the number of clusters k, with three grey lines of closed forms.",
        ("cluster_k_scaling",),
        ("data_k", "data_d", "z_r50", "attack_median", "certificate_median"),
        radius_vs_k,
    ),
    Plot(
        "F2",
        "Radii against the dimension",
        f"The same radii at fixed k; markers of equal radii overlap. {BAND} Grey: closed forms.",
        "trained: √(d/k) · robust: certified √d/2, flips from √(d/2)",
        "Log–log plot of perturbation norms against the dimension d, with three grey lines of closed forms.",
        ("cluster_d_scaling",),
        ("data_k", "data_d", "z_r50", "attack_median", "certificate_median"),
        radius_vs_d,
    ),
    Plot(
        "F3",
        "Flip rate against the scaled norm of z",
        "Fraction of test points that z flips, against its norm over the closed-form radius. One line per "
        "configuration: median over seeds at each norm. Above, on a narrow range: all experiments at moderate noise. "
        "Below, on the whole range: the sweep over noise, up to σ that violate the assumption by far.",
        "x = ‖z‖ / √(d(1 − ρ)/k)",
        "Flip rate curves of all configurations over the scaled norm of z, with a dashed line at 1.",
        (*SCALING, "cluster_noise", "cluster_balance", "cluster_correlation", "cluster_attacks", "cluster_literal"),
        ("curve_radius", "curve_flip"),
        flip_collapse,
    ),
    Plot(
        "F6",
        "Error and radii against over-parameterisation",
        f"Test error (above) and radii over √(d/k) (below) against weights (w, b and v) per training point. {BAND}",
        "r₅₀(z) = √(d/k) at every width m ≥ k/2",
        "Two panels over weights per training point on a log axis: test error above, scaled radii below.",
        ("cluster_width",),
        ("model_width", "data_n", "data_coordinates", "test_error", "z_r50", "attack_median"),
        width,
    ),
    Plot(
        "F7",
        "Radii against the balance of labels",
        "Radii over √(d/k) against the fraction c of clusters with the rarer label, and the growth 1/c that the "
        f"theorem (recalled) allows. {BAND}",
        "measured: 1 · allowed: 1/c, c = min(k₊, k₋)/k",
        "Log–log plot of scaled radii against label balance c, with a grey line 1/c and one at 1.",
        ("cluster_balance",),
        ("data_negative", "data_k", "data_d", "z_r50", "attack_median"),
        balance,
    ),
)
