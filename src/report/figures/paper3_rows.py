"""Shared by the figures of paper 3: names of optimizers and norms, converged rows, heat maps."""

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
"""Optimizer → norm of the margin in the theorem; ``gamma_own`` and ``kappa_own`` are γ and κ in it."""
COLOUR = dict(zip(OPTIMIZERS.values(), COLOURS, strict=True))
ALIGNED = 0.6
"""κ in the optimizer's own norm from which a run counts as following the flow."""
BAND = "Lines: median over seeds; bands: smallest to largest seed."


def named(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows with a column ``optimizer``, its name in figures, in the order of ``OPTIMIZERS``.

    The loss decreases without end here, so ``converged`` is an alignment of at least ``ALIGNED``.
    """
    known = [name for name in OPTIMIZERS if name in set(frame["optimizer_name"])]
    order = known + sorted(set(frame["optimizer_name"]) - set(known))
    rank = frame["optimizer_name"].map({name: place for place, name in enumerate(order)})
    label = frame["optimizer_name"].map(lambda name: OPTIMIZERS.get(name, name))
    rows = frame.assign(optimizer=label, rank=rank, converged=frame["kappa_own"] >= ALIGNED)
    return rows.sort_values("rank", kind="stable")


def at_lowest_loss(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows in which a member first reached the lowest loss at which runs are compared."""
    lowest = rows["compare_at_loss"].map(lambda losses: losses[-1] if losses else np.nan)
    return rows[rows["matched"] == lowest]


def heat(axes: Axes, grid: pandas.DataFrame, marked: Sequence[tuple[int, int]] = (), **options: object) -> None:
    """Draw an annotated heat map, with a frame around the ``marked`` cells (row, column)."""
    text = grid.map(lambda value: "" if np.isnan(value) else "<.01" if 0 < value < 0.005 else f"{value:.2f}")
    style = {"cmap": "crest", "vmin": 0, "vmax": 1, "cbar": False, "annot": text, "fmt": "", "annot_kws": {"size": 6.5}}
    axes.grid(False)
    seaborn.heatmap(grid, ax=axes, **style | options)
    for row, column in marked:
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#D55E00", lw=2, clip_on=False))
