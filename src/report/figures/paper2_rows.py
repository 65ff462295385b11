"""Shared by the figures of paper 2: gradient-flow time, t-layers, names, lines with two distinctions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from src.report.figures.style import COLOURS, DASHES, LEGEND, limits, log_ticks, spread

TRAINED = 0.9
"""Training accuracy from which a network counts as converged."""
BAND = "Lines: median over seeds; bands: smallest to largest seed."
HOLLOW = "hollow: some seed classifies less than 90 % of its training examples."
TIME = "gradient-flow time t = step · η"
WINDOW = "Shown from t = T/200 on."
LAYER = dict(zip(("layer 1", "layer 2", "layer 3"), COLOURS, strict=False))
TRAINING = dict(zip(("adversarial", "standard"), COLOURS, strict=False))


def timed(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows with ``t``, the gradient-flow time Σ lr at a constant learning rate.

    All runs use their whole budget of steps, so ``converged`` is a training accuracy of at least ``TRAINED``.
    """
    time = (frame["step"] * frame["optimizer_lr"].astype(float)).round(9)
    accuracy = frame["train_clean_accuracy"] if "train_clean_accuracy" in frame else 1 - frame["train_error"]
    return frame.assign(t=time, converged=accuracy >= TRAINED)


def moving(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return :func:`timed` rows from t = T/200 on; earlier rows would fill most of a logarithmic axis."""
    rows = timed(frame)
    return rows[rows["t"] >= rows["t"].max() / 200]


def time_axis(axes: Axes, data: pandas.DataFrame) -> None:
    """Make a logarithmic axis of t with plain numbers."""
    axes.set(xscale="log")
    limits(axes, x=(data["x"].min(), 1.05 * data["x"].max()))
    log_ticks(axes.xaxis)


def of_layers(rows: pandas.DataFrame, x: str, column: str, panel: str) -> pandas.DataFrame:
    """Return :func:`spread` of ``column_l`` for every measured t-layer l, with the layers as series."""
    layers = [name for place, name in enumerate(LAYER, 1) if f"{column}_{place}" in rows]
    return pandas.concat([
        spread(rows, x, f"{column}_{place}", name, panel) for place, name in enumerate(layers, 1)
    ])  # fmt: skip


def crossed(axes: Axes, data: pandas.DataFrame, colour_of: Mapping[str, str], stroke_of: Sequence[str]) -> None:
    """Draw one panel: a colour per ``series``, dashes per ``run``, a band from the lowest to the highest member."""
    for (name, run), part in data.groupby(["series", "run"], sort=False):
        dashes = DASHES[stroke_of.index(run)]
        axes.plot(part["x"], part["y"], color=colour_of[name], dashes=dashes, label=f"{name}, {run}")
        axes.fill_between(part["x"], part["low"], part["high"], color=colour_of[name], alpha=0.13, lw=0)


def key(axes: Axes, colour_of: Mapping[str, str], stroke_of: Sequence[str], columns: int = 3) -> None:
    """Draw one legend above all panels for :func:`crossed`, with an entry per colour and per kind of dashes."""
    entries = [Line2D([], [], color=colour, label=name) for name, colour in colour_of.items()]
    entries += [Line2D([], [], color="0.4", dashes=DASHES[i], label=run) for i, run in enumerate(stroke_of)]
    axes.figure.legend(handles=entries, ncols=columns, **LEGEND)
