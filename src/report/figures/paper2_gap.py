"""Generalisation gap against 1/√N and rank: gaps (F1), as released (F2), their table (T4), bounds (T3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.report.figures.paper2_rows import HOLLOW, timed
from src.report.figures.style import COLOURS, Plot, Table, canvas, formula, legend, limits, lines, spread

FIT = "Thin lines: least squares through the means over seeds, drawn from 1/√N = 0."
POINTS = f"Markers: median over seeds; bands: smallest to largest seed; {HOLLOW} {FIT}"
WHOLE = "whole layers"
RANKS = ("r = 4", "r = 14", "r = 28", WHOLE)
COLOUR = dict(zip(RANKS, COLOURS, strict=False))


def gap(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F1: gaps under FGSM against 1/√N, at equal training loss, at fixed epochs and at fixed steps."""
    final = _final(frame)
    matched = final[final["experiment"] == "tnn_matched_loss"]
    epochs = final[final["experiment"] == "tnn_generalization_gap"]
    steps = final[final["experiment"] == "tnn_fixed_steps"]
    panels = {
        "gap in FGSM loss, equal training loss": (matched, "gap_fgsm_loss"),
        "gap in FGSM loss": (epochs, "gap_fgsm_loss"),
        "gap in FGSM accuracy": (epochs, "gap_fgsm_accuracy"),
        "gap in FGSM loss, fixed steps": (steps, "gap_fgsm_loss"),
    }
    panels = {panel: (rows, column) for panel, (rows, column) in panels.items() if len(rows)}
    data = pandas.concat([fitted(rows, column, panel) for panel, (rows, column) in panels.items()])
    figure, grid = canvas(len(panels), 2.0)
    for axes, (panel, (rows, _)) in zip(grid, panels.items(), strict=True):
        _through_zero(axes, data[data["panel"] == panel])
        ylabel, _, at_equal = panel.partition(", equal")
        title = f"equal{at_equal} at every N" if at_equal else _budget(rows)
        axes.set(ylabel=ylabel.removesuffix(", fixed steps"), title=title)
    grid[-1].set(xlabel="1/√N")
    legend(grid[0], columns=4)
    return figure, data


def released(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F2: the gap as defined in the released code, and in mean loss of the same networks."""
    final = _final(frame)
    counted, mean = "released: Σ of batch means / N", "mean loss"
    batch = final["batch_size"].max()
    smaller = final[final["batch_size"] < batch]
    same_batch = [
        spread(rows, "x", f"gap_released_risk * {size} / {batch}", f"{name} ÷ {batch / size:.2f}", counted)
        for (name, size), rows in smaller.groupby(["series", "batch_size"])
    ]  # a sum of batch means over N is the mean over the batch size
    data = pandas.concat([
        fitted(final, "gap_released_risk", counted), *same_batch, fitted(final, "gap_fgsm_loss", mean)
    ])  # fmt: skip
    figure, panels = canvas(2, 2.2)
    for axes, panel in zip(panels, (counted, mean), strict=True):
        _through_zero(axes, data[data["panel"] == panel])
        axes.set(title=panel, ylabel="gap in FGSM risk")
    panels[-1].set(xlabel="1/√N")
    legend(panels[0], columns=3)
    return figure, data


def fitted(rows: pandas.DataFrame, column: str, panel: str) -> pandas.DataFrame:
    """Return the spread of ``column`` over seeds for every rank, and a line through the means, from x = 0."""
    tables = []
    for name, part in rows.groupby("series", sort=False):
        tables.append(spread(part, "x", column, name, panel))
        mean = part.groupby("x")[column].mean()
        mean = mean[np.isfinite(mean)]
        if len(mean) > 1:
            slope, intercept = np.polyfit(mean.index, mean, 1)
            x = np.array([0, part["x"].max()])
            tables.append(formula(x, intercept + slope * x, f"fit, {name}", panel))
    return pandas.concat(tables)


def _final(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the last row of every member, with x = 1/√N and the rank as series, sorted by rank."""
    final = timed(frame[frame["final"]]).sort_values("model_rank", kind="stable")
    series = final["model_rank"].map(lambda rank: WHOLE if pandas.isna(rank) else f"r = {rank:g}")
    return final.assign(x=final["data_n"].astype(float) ** -0.5, series=series)


def _budget(rows: pandas.DataFrame) -> str:
    """Return the common number of epochs or steps of the runs as text."""
    if rows["steps"].nunique() == 1:
        return f"{rows['steps'].iloc[0]} steps at every N"
    epochs = rows["steps"] * rows["batch_size"] / rows["data_n"]
    return f"{epochs.median():.0f} epochs at every N"


def _through_zero(axes: Axes, data: pandas.DataFrame) -> None:
    """Draw measured points with bands and fitted lines in the same colours, from the origin on."""
    measured = data[data["n"] > 0]
    colour = {name: COLOUR.get(name, COLOURS[4 + i]) for i, name in enumerate(measured["series"].unique())}
    lines(axes, measured, colour)
    for line in axes.get_lines():
        line.set_linestyle("none")
    for name, line in data[data["n"] == 0].groupby("series", sort=False):
        axes.plot(line["x"], line["y"], color=colour[name.removeprefix("fit, ")], lw=0.9)
    axes.axhline(0, color="0.25", lw=0.8, zorder=0)
    limits(axes, x=(0, 1.04 * data["x"].max()))


def gap_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T4: gaps, accuracies and norms for every r and N, medians over seeds."""
    columns = {
        "gap in FGSM loss": "gap_fgsm_loss",
        "gap in FGSM accuracy": "gap_fgsm_accuracy",
        "test accuracy, clean": "test_clean_accuracy",
        "test accuracy, FGSM": "test_fgsm_accuracy",
        "‖w‖·∏‖W‖_F": "norm_product",
    }
    return _medians(frame, ["experiment", "model_rank", "data_n"], columns)


def bound_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T3: the bounds and the measured gap for every r and N, medians over seeds."""
    columns = {
        "measured gap": "gap_fgsm_loss",
        "standard bound": "bound_standard",
        "adversarial bound": "bound_adversarial",
        "low-rank bound": "bound_low_rank",
        "approximate bound": "bound_approximate",
        "parameters, full": "parameters_full",
        "parameters, low rank": "parameters_low_rank",
    }
    return _medians(frame, ["model_rank", "data_n"], columns)


def _medians(frame: pandas.DataFrame, keys: Sequence[str], columns: dict[str, str]) -> pandas.DataFrame:
    grouped = frame[frame["final"]].groupby(list(keys), dropna=False)
    medians = {name: (column, "median") for name, column in columns.items()}
    table = grouped.agg(**medians, networks=("member", "size")).reset_index()
    table["model_rank"] = table["model_rank"].map(lambda rank: "whole" if pandas.isna(rank) else f"{rank:g}")
    return table.rename(columns={"model_rank": "r", "data_n": "N"})


PLOTS = (
    Plot(
        "F1",
        "Generalisation gap against 1/√N",
        "Gap between test and training set under FGSM, for factors of tubal rank r and for whole layers. From above: "
        "in loss, where training stops at the same adversarial training loss for every N; in loss and in accuracy at "
        f"the same number of epochs; in loss at the same number of steps. {POINTS}",
        "gap ∝ 1/√N",
        "Four panels over one over root N: gaps at equal training loss, epochs and steps, with straight lines.",
        ("tnn_matched_loss", "tnn_generalization_gap", "tnn_fixed_steps"),
        ("model_rank", "data_n", "gap_fgsm_loss", "gap_fgsm_accuracy"),
        gap,
    ),
    Plot(
        "F2",
        "The gap as defined in the released code",
        "Training as released. Above, risks as released: the sum of batch means over N, which is the mean over the "
        "batch size. r = 28 has smaller batches than r = 4, so its gap is larger by their ratio; points divided by "
        f"this ratio are drawn, too. Below: gap in mean loss of the same networks. {POINTS}",
        "(1/N) Σ_batches mean = mean / batch size",
        "Two panels over one over root N with straight lines: gap as released, and in mean loss.",
        ("tnn_released_gap",),
        ("model_rank", "data_n", "batch_size", "gap_released_risk", "gap_fgsm_loss"),
        released,
    ),
)
TABLES = (
    Table(
        "T3",
        "Bounds beside measured gaps",
        "Generalisation bounds in their recalled form, and the gap in FGSM loss. Constants and logarithms are "
        "set to 1, so only their ratios are meaningful. Layers are constrained to balls in F-norm. whole: layers "
        "without factors. Medians over seeds.",
        ("tnn_bounds",),
        ("bound_standard", "bound_adversarial", "bound_low_rank", "bound_approximate", "gap_fgsm_loss"),
        bound_table,
    ),
    Table(
        "T4",
        "Generalisation for every rank and size",
        "Gaps under FGSM, test accuracies, and the product of the norms of all layers at the end; medians over seeds.",
        ("tnn_matched_loss", "tnn_generalization_gap", "tnn_fixed_steps", "tnn_released_gap"),
        ("model_rank", "data_n", "gap_fgsm_loss", "gap_fgsm_accuracy", "norm_product"),
        gap_table,
    ),
)
