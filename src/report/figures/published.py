"""Values read off the figures of paper 3, to draw beside ours; data/gronich_vardi/README.md has their source."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas
from matplotlib.axes import Axes

from src.report.figures.paper3_rows import COLOUR, OPTIMIZERS
from src.report.figures.style import PUBLISHED

FOLDER = Path(__file__).resolve().parents[3] / "data" / "gronich_vardi"
OURS = {
    ("NGD", "off"): "ngd", ("NGD", "on"): "nmd", ("Signum", "on"): "signum", ("Adam", "on"): "adam",
    ("Muon", "on"): "muon", ("Muon-Adam", "on"): "muon_adam",
}  # fmt: skip
"""Optimizer and momentum in the paper → our optimizer."""
NORM = {"l2": "l2", "linf": "linf", "msp": "msp", "hybrid_r1": "hyb"}


@cache
def margins() -> pandas.DataFrame:
    """Return ``optimizer_name, norm, power, log10_loss, mean, low, high``: Figures 1a and 2, 95 % intervals."""
    table = pandas.read_csv(FOLDER / "margins.csv")
    names = [OURS[key] for key in zip(table["optimizer"], table["momentum"], strict=True)]
    table = table.assign(optimizer_name=names, norm=table["norm"].map(NORM), power=_power(table["activation"]))
    columns = {"margin_mean": "mean", "ci95_lo": "low", "ci95_hi": "high"}
    return table.rename(columns=columns)[["optimizer_name", "norm", "power", "log10_loss", "mean", "low", "high"]]


@cache
def cosines() -> pandas.DataFrame:
    """Return ``optimizer_name, power, fraction, cosine``: Figure 1b, with the fraction of the steps."""
    table = pandas.read_csv(FOLDER / "cosines.csv")
    names = [OURS[name, "on"] for name in table["optimizer"]]
    table = table.assign(optimizer_name=names, power=_power(table["activation"]))
    return table[["optimizer_name", "power", "fraction", "cosine"]]


def draw(axes: Axes, optimizer_name: str, x: pandas.Series, y: pandas.Series, *band: pandas.Series) -> None:
    """Draw published values below ours: a pale line in the optimizer's colour, and its interval if it has one."""
    colour = COLOUR[OPTIMIZERS[optimizer_name]]
    axes.plot(x, y, color=colour, lw=3.5, alpha=0.3, solid_capstyle="round", zorder=0.5, gid=PUBLISHED)
    if band:
        axes.fill_between(x, *band, color=colour, alpha=0.15, lw=0, zorder=0.4, gid=PUBLISHED)


def _power(activation: pandas.Series) -> pandas.Series:
    return activation.map({"ReLU": 1.0, "sqReLU": 2.0})
