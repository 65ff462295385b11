"""What all figures of paper 2 share: gradient-flow time, t-layers, names, lines that differ in two ways at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from src.report.figures.style import COLOURS, DASHES, limits, log_ticks, spread

TRAINED = 0.9
"""Share of its training examples that a network must classify to count as trained."""
BAND = "Lines: median over seeds; bands: smallest to largest seed."
HOLLOW = "hollow: not every seed classifies 90 % of its training examples."
TIME = "gradient-flow time t = step · η"
WINDOW = "Shown from t = T/200 on."
LAYER = dict(zip(("layer 1", "layer 2", "layer 3"), COLOURS, strict=False))
TRAINING = dict(zip(("adversarial", "standard"), COLOURS, strict=False))


def timed(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with ``t``, the gradient-flow time Σ lr at a constant step size.

    Every run goes on to the end of its budget, so what counts as converged is a training accuracy of ``TRAINED``.
    """
    time = (frame["step"] * frame["optimizer_lr"].astype(float)).round(9)
    accuracy = frame["train_clean_accuracy"] if "train_clean_accuracy" in frame else 1 - frame["train_error"]
    return frame.assign(t=time, converged=accuracy >= TRAINED)


def moving(frame: pandas.DataFrame) -> pandas.DataFrame:
    """:func:`timed` rows from t = T/200 on, for a logarithmic axis: earlier ones would fill most of it."""
    rows = timed(frame)
    return rows[rows["t"] >= rows["t"].max() / 200]


def time_axis(axes: Axes, data: pandas.DataFrame) -> None:
    """A logarithmic axis of t with plain numbers."""
    axes.set(xscale="log")
    limits(axes, x=(data["x"].min(), 1.05 * data["x"].max()))
    log_ticks(axes.xaxis)


def of_layers(rows: pandas.DataFrame, x: str, column: str, panel: str) -> pandas.DataFrame:
    """:func:`spread` of ``column_l`` for every t-layer l that was measured; the series are the layers."""
    layers = [name for place, name in enumerate(LAYER, 1) if f"{column}_{place}" in rows]
    return pandas.concat([
        spread(rows, x, f"{column}_{place}", name, panel) for place, name in enumerate(layers, 1)
    ])  # fmt: skip


def crossed(axes: Axes, data: pandas.DataFrame, colour_of: Mapping[str, str], stroke_of: Sequence[str]) -> None:
    """Draw one panel: the colour tells the ``series``, the dashes the ``run``, the band the range over members."""
    for (name, run), part in data.groupby(["series", "run"], sort=False):
        dashes = DASHES[stroke_of.index(run)]
        axes.plot(part["x"], part["y"], color=colour_of[name], dashes=dashes, label=f"{name}, {run}")
        axes.fill_between(part["x"], part["low"], part["high"], color=colour_of[name], alpha=0.13, lw=0)


def key(axes: Axes, colour_of: Mapping[str, str], stroke_of: Sequence[str], columns: int = 3) -> None:
    """One legend above all panels for :func:`crossed`: every colour once, every kind of dashes once."""
    entries = [Line2D([], [], color=colour, label=name) for name, colour in colour_of.items()]
    entries += [Line2D([], [], color="0.4", dashes=DASHES[i], label=run) for i, run in enumerate(stroke_of)]
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": columns, "handlelength": 2.2, "columnspacing": 1.0}
    axes.figure.legend(handles=entries, **place)
