"""The style of all figures: seaborn on matplotlib, colour-blind safe, with different dashes and markers as well.

A :class:`Plot` is drawn from the rows of its experiments and returns the plotted data, so that figures can be tested
and reused as numbers. Line figures share one tidy form: ``panel, series, x, y, low, high, n, converged``.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas
import seaborn
from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH = 3.6
"""Inches: one column of a paper, or the width of a phone."""
BAND = "Lines: median over seeds; bands: smallest to largest seed; hollow markers: some seed has not converged."
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B4E9B", "#7F7F7F"]
"""Okabe & Ito's palette without yellow and black, which are hard to see on white and in text."""
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
SIZES = [7, 5.4, 4, 4, 4, 4, 4, 4]
WIDTHS = [2.2, 1.6, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2]
"""The first series are the widest and lowest, so that they stay visible below later ones."""
DASHES = [(None, None), (5, 1.5), (2, 1), (5, 1, 1, 1), (1, 1), (7, 2, 2, 2), (3, 2), (8, 2)]
SEED_RANGE = "seed range"
"""Label of bands in the legend: from the lowest to the highest member."""
CLOSED_FORM = "closed form"
"""The gid of lines of formulas."""
PUBLISHED = "published"
"""The gid of what a paper reports, and its label in the legend."""
NO_VALUE = "no finite value"
"""Text in a panel without values."""
LEGEND = {"loc": "outside upper left", "handlelength": 2.2, "columnspacing": 1.0}
FORMULA = "0.25"
"""Grey of lines of formulas."""


class Plot(NamedTuple):
    """A figure of a paper.

    ``draw(frame)`` gets the rows of the ``experiments`` that have been run, with at least the ``columns``, and returns
    the figure and the plotted data. ``caption`` explains the figure and its bands; ``alt`` describes the image.
    """

    id: str
    title: str
    caption: str
    formula: str
    alt: str
    experiments: tuple[str, ...]
    columns: tuple[str, ...]
    draw: Callable[[pandas.DataFrame], tuple[Figure, pandas.DataFrame]]


def in_order(plots: Sequence[Plot]) -> tuple[Plot, ...]:
    """Return the plots sorted by the number in ``F12``; panels without values get a note."""
    noting = [plot._replace(draw=_noting(plot.draw)) for plot in plots]
    return tuple(sorted(noting, key=lambda plot: int(plot.id.removeprefix("F"))))


def _noting(draw: Callable) -> Callable:
    @functools.wraps(draw)
    def drawn(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
        figure, data = draw(frame)
        for axes in figure.axes:
            if not _has_value(axes):
                place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
                axes.text(0.5, 0.5, NO_VALUE, color=FORMULA, fontsize=8, **place)
        return figure, data

    return drawn


def _has_value(axes: Axes) -> bool:
    """Return whether a finite measured value is drawn; formulas, published values and lines across it do not count."""
    others = (CLOSED_FORM, PUBLISHED)
    drawn = [line.get_xydata() for line in axes.get_lines()
             if line.get_transform() is axes.transData and line.get_gid() not in others]  # fmt: skip
    for collection in (one for one in axes.collections if one.get_gid() not in others):
        colours = collection.get_array()
        if colours is None:
            drawn += [path.vertices for path in collection.get_paths()]
        else:
            drawn.append(np.ma.filled(colours.astype(float), np.nan).reshape(-1, 1))
    return any(np.isfinite(points).all(-1).any() for points in drawn)


class Table(NamedTuple):
    """A table of a paper: ``make(frame)`` from the rows of its ``experiments`` (empty: of all experiments)."""

    id: str
    title: str
    caption: str
    experiments: tuple[str, ...]
    columns: tuple[str, ...]
    make: Callable[[pandas.DataFrame], pandas.DataFrame]


@contextlib.contextmanager
def rc_context() -> Iterator[None]:
    """Apply the suite's style on matplotlib's defaults within the context."""
    rc = seaborn.axes_style("ticks") | seaborn.plotting_context("paper", font_scale=0.95)
    rc |= {"axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.6, "axes.spines.top": False}
    rc |= {"axes.spines.right": False, "font.family": "DejaVu Sans", "lines.markersize": 4.5, "lines.linewidth": 1.3}
    rc |= {"axes.prop_cycle": rcsetup.cycler(color=COLOURS), "legend.frameon": False, "legend.fontsize": 7.5}
    rc |= {"pdf.fonttype": 42, "axes.titlesize": 9, "figure.dpi": 100, "axes.titlelocation": "left"}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nonfinite values, which the panels note
        mpl.rcdefaults()
        mpl.rcParams.update(rc)
        yield


def canvas(panels: int = 1, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels in one column, ``height`` inches each."""
    figure = Figure(figsize=(WIDTH, height * panels), layout="constrained")
    return figure, list(np.ravel(figure.subplots(panels, 1)))


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Save ``stem.png`` (200 dpi) and ``stem.pdf``, without dates, so that equal figures are equal files."""
    png, pdf = stem.with_suffix(".png"), stem.with_suffix(".pdf")
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # keep this layout for both files
    figure.savefig(png, dpi=200, metadata={"Software": None})
    figure.savefig(pdf, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return png, pdf


class FigureNotReady(Exception):  # noqa: N818
    """No finished cell has the rows that a figure needs."""


def needed(rows: pandas.DataFrame, what: str) -> pandas.DataFrame:
    """Return the rows; raise FigureNotReady if there are none."""
    if rows.empty:
        raise FigureNotReady(f"no finished cell with {what}")
    return rows


def is_curve(value: object) -> bool:
    """Return whether a value is a measured curve."""
    return isinstance(value, list) and len(value) > 0


def spread(frame: pandas.DataFrame, x: str, y: str, series: str, panel: str = "") -> pandas.DataFrame:
    """Return median, lowest and highest member at every x, tidy; nonfinite values are left out and not counted in n.

    ``converged`` is the fraction of all members that converged and have a value. ``x`` and ``y`` are expressions over
    columns, ``series`` is a column or a label.
    """
    value = {"x": frame.eval(x, engine="python"), "y": frame.eval(y, engine="python")}
    label = frame.get(series, series)
    tidy = pandas.DataFrame(value | {"series": label, "converged": frame["converged"].astype(float)}, frame.index)
    finite = np.isfinite(tidy["y"].astype(float))
    of_all = tidy.assign(converged=tidy["converged"] * finite).groupby(["series", "x"])["converged"].mean()
    table = tidy[finite].groupby(["series", "x"], sort=True)["y"].agg(y="median", low="min", high="max", n="size")
    return table.assign(converged=of_all.reindex(table.index)).reset_index().assign(panel=panel)


def formula(x: Sequence[float], y: Sequence[float], series: str, panel: str = "") -> pandas.DataFrame:
    """Return a closed form in the tidy form of :func:`spread`, with ``n = 0``."""
    table = pandas.DataFrame({"series": series, "x": x, "y": y, "n": 0, "panel": panel})
    return table.assign(low=table["y"], high=table["y"], converged=1.0)


def lines(axes: Axes, data: pandas.DataFrame, colour_of: Mapping | None = None, markers: bool = True) -> None:
    """Draw every series of one panel: line at the median, band from the lowest to the highest member.

    Hollow markers: some member has not converged. Series with ``n = 0`` are formulas: grey, without markers.
    """
    measured = 0
    formulas = 0
    for name, part in data.groupby("series", sort=False):
        if (part["n"] == 0).all():
            stroke = {"color": FORMULA, "dashes": DASHES[1 + formulas % 7], "lw": 1, "zorder": 1}
            axes.plot(part["x"], part["y"], label=name, gid=CLOSED_FORM, **stroke)
            formulas += 1
            continue
        index = measured % len(COLOURS)
        colour = (colour_of or {}).get(name, COLOURS[index])
        stroke = {"color": colour, "dashes": DASHES[index], "lw": WIDTHS[index]}
        converged = part["converged"] == 1
        if markers:
            # a marker on the labelled line, so that the legend shows it
            marker = {"marker": MARKERS[index], "markersize": SIZES[index]}
            stroke |= marker | {"markevery": np.flatnonzero(converged).tolist()}
            hollow = part[~converged]
            face = {"markerfacecolor": "white", "markeredgecolor": colour, "zorder": 2.1}
            axes.plot(hollow["x"], hollow["y"], linestyle="none", **marker, **face)
        axes.plot(part["x"], part["y"], label=name, **stroke)
        axes.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.18, lw=0)
        measured += 1


def legend(axes: Axes, title: str | None = None, columns: int = 2) -> None:
    """Draw one legend above the panels, for all without one of their own; published values have one entry."""
    panels = [panel for panel in axes.figure.axes if panel.get_legend() is None]
    found = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels]
    entries = {label: handle for panel in found for handle, label in panel}
    drawn = [artist for panel in panels for artist in (*panel.collections, *panel.get_lines())]
    if any(isinstance(artist, PolyCollection) and artist.get_gid() != PUBLISHED for artist in drawn):
        entries[SEED_RANGE] = Patch(color="0.5", alpha=0.3, lw=0)
    if any(isinstance(artist, Line2D) and artist.get_gid() == PUBLISHED for artist in drawn):
        entries[PUBLISHED] = Line2D([], [], color="0.5", alpha=0.3, lw=3.5)
    handles, title_style = list(entries.values()), {"title": title, "title_fontsize": 7.5, "alignment": "left"}
    axes.figure.legend(handles, list(entries), ncols=columns, **title_style, **LEGEND)


def limits(axes: Axes, **ends: tuple[float | None, float | None]) -> None:
    """Set the finite limits of the axes ``x`` and ``y``; others stay as they are."""
    for axis, both in ends.items():
        axes.set(**{f"{axis}lim": [None if end is None or not np.isfinite(end) else end for end in both]})


def doubling_lines(axes: Axes, data: pandas.DataFrame) -> None:
    """Draw ``lines`` over an x that doubles, with logarithmic axes."""
    lines(axes, data)
    axes.set_xscale("log", base=2)
    log_ticks(axes.yaxis)


def log_ticks(axis: Axis) -> None:
    """Make the axis logarithmic with plain numbers at 1, 2 and 5, or more of them below a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def describe(data: pandas.DataFrame) -> str:
    """Return the first and last value of each measured series, as text for screen readers."""
    if not {"series", "x", "y", "n"} <= set(data.columns):
        return ""
    texts = []
    for (panel, name), part in data[data["n"] > 0].groupby(["panel", "series"], sort=False):
        where = f"{panel}, {name}" if panel else f"{name}"
        ends = [f"{row['y']:.3g} at {_number(row['x'])}" for _, row in part.iloc[[0, -1]].iterrows()]
        texts.append(f"{where}: {', '.join(ends)}")
    return "; ".join(texts) + "." if texts else ""


def _number(x: object) -> str:
    return x if isinstance(x, str) else f"{x:.3g}"
