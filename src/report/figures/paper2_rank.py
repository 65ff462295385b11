"""Figures of ranks: spectra (F5), under a penalty (F6), after truncation (F7)."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.report.figures.paper2_rows import (
    BAND,
    HOLLOW,
    LAYER,
    TIME,
    TRAINING,
    WINDOW,
    crossed,
    key,
    moving,
    of_layers,
    time_axis,
    timed,
)
from src.report.figures.style import COLOURS, Plot, canvas, is_curve, legend, lines, log_ticks, needed, spread

SLICES = 28
"""Columns of an image: slices of M(W) under the DCT."""
MOMENTS = {"end": {"color": COLOURS[1], "lw": 1.4, "alpha": 0.7}, "start": {"color": COLOURS[0], "lw": 0.5}}
"""The start is drawn over the end, so that visible parts of the end have grown."""
COLLAPSED = 0.6
"""Test accuracy under FGSM up to which a network counts as collapsed; a constant one has about 0.5."""
INPUTS = {"clean": COLOURS[2], "FGSM": COLOURS[3]}


def spectra(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F5: singular values of every slice at the start and the end, over the largest at the start."""
    rows = frame[(frame["vars_training"] == "adversarial") & frame["spectrum_1"].map(is_curve)]
    network = needed(rows[rows["seed"] == rows["seed"].min()], "adversarial training")
    moments = {"start": network[network["step"] == 0].iloc[0], "end": network[network["final"]].iloc[0]}
    tables = []
    for place, layer in enumerate(LAYER, 1):
        sigma = {name: np.array(row[f"spectrum_{place}"]).reshape(SLICES, -1) for name, row in moments.items()}
        for name, values in sigma.items():
            of_slice, index = np.indices(values.shape)
            points = {"slice": of_slice.ravel() + 1, "index": index.ravel() + 1}
            points["value"] = values.ravel() / sigma["start"].max()
            tables.append(pandas.DataFrame(points).assign(panel=layer, moment=name, seed=moments[name]["seed"]))
    data = pandas.concat(tables)
    figure, panels = canvas(len(LAYER), 1.8)
    for axes, layer in zip(panels, LAYER, strict=True):
        for name, style in MOMENTS.items():
            shown = data[(data["panel"] == layer) & (data["moment"] == name)]
            for _, part in shown.groupby("slice"):
                axes.plot(part["index"], part["value"], label=name, **style)
        axes.set(ylabel="σ / σ₁ at the start", title=layer, ylim=(0, None))
    panels[-1].set(xlabel="singular value of a slice, from the largest")
    legend(panels[0], title="one line per slice")
    return figure, data


def penalty(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F6: ranks, accuracy and F-norm against the penalty, and F-norms over t under the released penalty."""
    final = timed(frame[frame["final"] & (frame["experiment"] == "tnn_nuclear_norm")])
    final = final.assign(penalty=final["optimizer_tubal_nuclear"].astype(float))
    needed(final[final["penalty"] > 0], "a penalty")
    over_time = moving(frame[frame["experiment"] == "tnn_collapse"])
    accuracy, released = "FGSM test accuracy", "F-norm, released penalty"
    data = pandas.concat([
        of_layers(final, "penalty", "srank", "stable rank"),
        of_layers(final, "penalty", "tubal_rank", "tubal rank"),
        spread(final, "penalty", "test_fgsm_accuracy", "network", accuracy),
        of_layers(final, "penalty", "fnorm", "F-norm"),
        of_layers(over_time, "t", "fnorm", released),
    ])  # fmt: skip
    median = final.groupby("penalty")["test_fgsm_accuracy"].median()
    names = ["stable rank", "tubal rank", accuracy, "F-norm", *([released] if len(over_time) else [])]
    figure, panels = canvas(len(names), 1.6)
    for axes, panel in zip(panels, names, strict=True):
        part = data[data["panel"] == panel]
        lines(axes, part, LAYER | {"network": "0.25"}, markers=panel != released)
        axes.set(ylabel=panel.removesuffix(", released penalty"))
        if panel in ("stable rank", released):
            log_ticks(axes.yaxis)
        if panel != released:
            _penalty_axis(axes, median)
        if panel == accuracy:
            axes.axhline(COLLAPSED, color="0.25", lw=1, ls=":", zorder=1)
        if panel == "F-norm":
            axes.set(xlabel="penalty λ (grey: collapsed)")
        if panel == released:
            time_axis(axes, part)
            weight = over_time["objective_tubal_nuclear"].iloc[0]
            axes.set(xlabel=TIME, title=f"released penalty: subgradient, λ = {weight:g}")
    legend(panels[0], columns=4)
    return figure, data


def _penalty_axis(axes: Axes, accuracy: pandas.Series) -> None:
    """Make a logarithmic axis of λ that includes 0, grey from the smallest λ on at which networks collapse.

    ``accuracy`` is λ → accuracy of the median network.
    """
    smallest, largest = accuracy.index[accuracy.index > 0].min(), accuracy.index.max()
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    axes.set_xticks(accuracy.index, [f"{value:g}" for value in accuracy.index])
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.2 * smallest, 1.3 * largest)
    collapsed = accuracy.index[accuracy <= COLLAPSED]
    if len(collapsed):
        axes.axvspan(0.85 * collapsed.min(), 1.3 * largest, color="0.9", lw=0, zorder=0)


def truncation(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F7: test accuracy against the kept rank of every layer, after adversarial and standard training."""
    curves = frame[["truncated_rank", "largest_count"]].map(is_curve).all(axis=1)
    final = timed(needed(frame[frame["final"] & curves], "truncated layers"))
    kept = {"tubal rank kept": "truncated", "singular values kept per layer": "largest"}
    axis = {"truncated": "truncated_rank", "largest": "largest_count"}
    inputs = dict(zip(INPUTS, ("clean", "fgsm"), strict=True))
    tables = []
    for panel, curve in kept.items():
        columns = [axis[curve], *(f"{curve}_{column}" for column in inputs.values())]
        points = final.explode(columns).astype(dict.fromkeys(columns, float))
        for training, part in points.groupby("vars_training", sort=True):
            for name, column in inputs.items():
                tables.append(spread(part, columns[0], f"{curve}_{column}", name, panel).assign(run=training))
    data = pandas.concat(tables)
    runs = list(TRAINING)
    figure, panels = canvas(2, 2.2)
    for axes, panel in zip(panels, kept, strict=True):
        crossed(axes, data[data["panel"] == panel], INPUTS, runs)
        log_ticks(axes.xaxis)
        axes.set(xlabel=panel, ylabel="test accuracy")
    key(panels[0], INPUTS, [f"{run} training" for run in runs], columns=2)
    return figure, data


PLOTS = (
    Plot(
        "F5",
        "Singular values, slice by slice",
        "Singular values of every slice of M(W) at the start and the end of adversarial training, over the layer's "
        "largest at the start. The start is drawn on top, so visible parts of the end have changed. One network: first "
        "seed.",
        "σ_j(M(W)(:,:,i)), i = 1…c",
        "Three panels, one per layer: falling singular values of every slice, at the start and at the end.",
        ("tnn_implicit_rank",),
        ("vars_training", "spectrum_1"),
        spectra,
    ),
    Plot(
        "F6",
        "A penalty on the tubal nuclear norm",
        "Stable rank, tubal rank (singular values up to 0.001 of the largest count as 0), test accuracy under FGSM and "
        "F-norm of each t-layer at the end, against the penalty λ with proximal steps. Grey: the median network has an "
        f"accuracy of at most {COLLAPSED} (dotted); {HOLLOW} A layer that is exactly 0 has no stable rank. Below: "
        f"F-norms under the released penalty (subgradient steps) against gradient-flow time. {WINDOW} {BAND}",
        "risk + λ Σ_l ‖M(W^l)‖_*",
        "Five panels: stable rank, tubal rank, accuracy and F-norm over the penalty; F-norms over time.",
        ("tnn_nuclear_norm", "tnn_collapse"),
        ("optimizer_lr", "test_fgsm_accuracy", "srank_1", "tubal_rank_1", "fnorm_1"),
        penalty,
    ),
    Plot(
        "F7",
        "Accuracy of truncated layers",
        "Test accuracy of trained networks on a part of the test images, clean and under FGSM, after truncation of all "
        "t-layers: to a tubal rank (above) or to their largest singular values over all slices (below), without "
        f"further training. {BAND}",
        "truncation: the best approximation in F-norm",
        "Two panels of test accuracy over the kept rank, on log axes, clean and attacked, for two trainings.",
        ("tnn_truncation",),
        ("vars_training", "truncated_rank", "truncated_fgsm", "largest_count", "largest_fgsm"),
        truncation,
    ),
)
