"""What all figures of paper 3 share: names of optimizers and norms, rows at matched loss, networks that count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from src.report.figures.style import COLOURS

NORMS = {"l2": "ℓ2", "linf": "ℓ∞", "msp": "msp", "hyb": "hybrid"}
OPTIMIZERS = {
    "ngd": "NGD",
    "nmd": "NMD",
    "signgd": "SignGD",
    "signum": "Signum",
    "adam": "Adam",
    "muon": "Muon",
    "muon_signum": "Muon-Signum",
    "muon_adam": "Muon-Adam",
}
OWN = {"ngd": "l2", "nmd": "l2", "signgd": "linf", "signum": "linf", "adam": "linf", "muon": "msp"}
OWN |= {"muon_signum": "hyb", "muon_adam": "hyb"}
"""The norm whose margin the theorem says each maximises; rows hold γ and κ in it as ``gamma_own``, ``kappa_own``."""
COLOUR = dict(zip(OPTIMIZERS.values(), COLOURS, strict=True))
ALIGNED = 0.6
"""κ in its own norm below which a run does not follow the flow, and does not count."""
BAND = "Lines: median over seeds; bands: smallest to largest seed."


def named(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with a column ``optimizer``, its name for people, in the order in which optimizers are always shown.

    No loss is the last one here, so what counts as converged is an alignment of at least ``ALIGNED``.
    """
    known = [name for name in OPTIMIZERS if name in set(frame["optimizer_name"])]
    order = known + sorted(set(frame["optimizer_name"]) - set(known))
    rank = frame["optimizer_name"].map({name: place for place, name in enumerate(order)})
    label = frame["optimizer_name"].map(lambda name: OPTIMIZERS.get(name, name))
    rows = frame.assign(optimizer=label, rank=rank, converged=frame["kappa_own"] >= ALIGNED)
    return rows.sort_values("rank", kind="stable")


def heat(axes: Axes, grid: pandas.DataFrame, marked: Sequence[tuple[int, int]] = (), **look: object) -> None:
    """A heat map with its numbers written in it, and a frame around the ``marked`` cells (row, column)."""
    text = grid.map(lambda value: "" if np.isnan(value) else "<.01" if 0 < value < 0.005 else f"{value:.2f}")
    style = {"cmap": "crest", "vmin": 0, "vmax": 1, "cbar": False, "annot": text, "fmt": "", "annot_kws": {"size": 6.5}}
    axes.grid(False)
    seaborn.heatmap(grid, ax=axes, **style | look)
    for row, column in marked:
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#D55E00", lw=2, clip_on=False))
