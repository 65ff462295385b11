"""One look for every figure: seaborn on matplotlib, colour-blind safe, distinguished by line and marker as well.

A :class:`Plot` is drawn from the rows of its experiments and hands back the data it plotted, so that a figure can be
checked, and reused, as numbers. Line figures share one tidy form: ``panel, series, x, y, low, high, n, converged``.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas
import seaborn
from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH = 3.6
"""Inches: one column of a paper, and a phone held upright."""
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B4E9B", "#7F7F7F"]
"""Okabe & Ito's palette, without the yellow and black that vanish on white and in text."""
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
SIZES = [7, 5.4, 4, 4, 4, 4, 4, 4]
WIDTHS = [2.2, 1.6, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2]
"""The first series lie widest and lowest: where they coincide with later ones, they still show."""
DASHES = [(None, None), (5, 1.5), (2, 1), (5, 1, 1, 1), (1, 1), (7, 2, 2, 2), (3, 2), (8, 2)]
BAND = "seed range"
"""What a band is, in the legend: from the lowest to the highest member."""
CLOSED_FORM = "closed form"
"""The gid of lines that are formulas."""
NO_VALUE = "no finite value"
"""What a panel says that has nothing to show."""
FORMULA = "0.25"
"""Grey of the lines that are formulas, not measurements."""


class Plot(NamedTuple):
    """A figure of a paper.

    ``draw(frame)`` gets the rows of all ``experiments`` that have been run, with at least the ``columns``, and returns
    the figure with the data it plotted. ``caption`` says what is shown and what the band is; ``alt`` what is seen.
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
    """By the number in ``F12``; each notes in its panels where there is nothing to be drawn."""
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
    """Whether a finite measured value is drawn: formulas and lines across the whole panel are none."""
    drawn = [line.get_xydata() for line in axes.get_lines()
             if line.get_transform() is axes.transData and line.get_gid() != CLOSED_FORM]  # fmt: skip
    for collection in axes.collections:
        colours = collection.get_array()
        if colours is None:
            drawn += [path.vertices for path in collection.get_paths()]
        else:
            drawn.append(np.ma.filled(colours.astype(float), np.nan).reshape(-1, 1))
    return any(np.isfinite(points).all(-1).any() for points in drawn)


class Table(NamedTuple):
    """A table of a paper: ``make(frame)`` from the rows of its ``experiments`` (empty: of all there are)."""

    id: str
    title: str
    caption: str
    experiments: tuple[str, ...]
    columns: tuple[str, ...]
    make: Callable[[pandas.DataFrame], pandas.DataFrame]


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Within it figures are drawn and saved in the suite's style, on matplotlib's defaults; nothing global changes."""
    rc = seaborn.axes_style("ticks") | seaborn.plotting_context("paper", font_scale=0.95)
    rc |= {"axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.6, "axes.spines.top": False}
    rc |= {"axes.spines.right": False, "font.family": "DejaVu Sans", "lines.markersize": 4.5, "lines.linewidth": 1.3}
    rc |= {"axes.prop_cycle": rcsetup.cycler(color=COLOURS), "legend.frameon": False, "legend.fontsize": 7.5}
    rc |= {"pdf.fonttype": 42, "axes.titlesize": 9, "figure.dpi": 100, "axes.titlelocation": "left"}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are not finite, which the panels tell of
        mpl.rcdefaults()
        mpl.rcParams.update(rc)
        yield


def canvas(panels: int = 1, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Panels one above the other, ``height`` inches each."""
    figure = Figure(figsize=(WIDTH, height * panels), layout="constrained")
    return figure, list(np.ravel(figure.subplots(panels, 1)))


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """``stem.png`` (200 dpi) and ``stem.pdf``: the same figure gives the same bytes, whenever it is saved."""
    png, pdf = stem.with_suffix(".png"), stem.with_suffix(".pdf")
    figure.savefig(png, dpi=200, metadata={"Software": None})
    figure.savefig(pdf, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return png, pdf


class NotYetError(Exception):
    """What a figure cannot do without and no finished cell has, in a few words."""


def needed(rows: pandas.DataFrame, what: str) -> pandas.DataFrame:
    """The rows; NotYetError when a half-finished sweep has none of them."""
    if rows.empty:
        raise NotYetError(f"no finished cell with {what}")
    return rows


def is_curve(value: Any) -> bool:
    """Whether a row holds a measured curve."""
    return isinstance(value, list) and len(value) > 0


def spread(frame: pandas.DataFrame, x: Any, y: Any, series: Any, panel: str = "") -> pandas.DataFrame:
    """Median, lowest and highest member at every x, tidy; values that are not finite are left out and not counted in n.

    ``converged`` is the share of all members that did and have a value.
    ``x``, ``y`` and ``series`` are columns' names, expressions over columns, or, for ``series``, any label.
    """
    value = {"x": frame.eval(x, engine="python"), "y": frame.eval(y, engine="python")}
    label = frame.get(series, series)
    tidy = pandas.DataFrame(value | {"series": label, "converged": frame["converged"].astype(float)}, frame.index)
    finite = np.isfinite(tidy["y"].astype(float))
    of_all = tidy.assign(converged=tidy["converged"] * finite).groupby(["series", "x"])["converged"].mean()
    table = tidy[finite].groupby(["series", "x"], sort=True)["y"].agg(y="median", low="min", high="max", n="size")
    return table.assign(converged=of_all.reindex(table.index)).reset_index().assign(panel=panel)


def formula(x: Sequence[float], y: Sequence[float], series: str, panel: str = "") -> pandas.DataFrame:
    """A closed form in the tidy form of :func:`spread`; ``n = 0`` says that nothing was measured."""
    table = pandas.DataFrame({"series": series, "x": x, "y": y, "n": 0, "panel": panel})
    return table.assign(low=table["y"], high=table["y"], converged=1.0)


def lines(axes: Axes, data: pandas.DataFrame, colour_of: dict[Any, str] | None = None, markers: bool = True) -> None:
    """Draw every series of one panel: line at the median, band from the lowest to the highest member.

    Hollow markers: not every member had converged. Series with ``n = 0`` are formulas: grey, without markers.
    """
    measured = 0
    formulas = 0
    for name, part in data.groupby("series", sort=False):
        if (part["n"] == 0).all():
            stroke = {"color": FORMULA, "dashes": DASHES[1 + formulas % 7], "lw": 1, "zorder": 1}
            axes.plot(part["x"], part["y"], label=name, gid=CLOSED_FORM, **stroke)
            formulas += 1
            continue
        look = measured % len(COLOURS)
        colour = (colour_of or {}).get(name, COLOURS[look])
        stroke = {"color": colour, "dashes": DASHES[look], "lw": WIDTHS[look]}
        converged = part["converged"] == 1
        if markers:
            # a marker on the labelled line, so that the legend shows it
            marker = {"marker": MARKERS[look], "markersize": SIZES[look]}
            stroke |= marker | {"markevery": np.flatnonzero(converged).tolist()}
            hollow = part[~converged]
            face = {"markerfacecolor": "white", "markeredgecolor": colour, "zorder": 2.1}
            axes.plot(hollow["x"], hollow["y"], linestyle="none", **marker, **face)
        axes.plot(part["x"], part["y"], label=name, **stroke)
        axes.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.18, lw=0)
        measured += 1


def legend(axes: Axes, title: str | None = None, columns: int = 2) -> None:
    """One legend above all panels, where it hides no data; every entry once."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    if any(isinstance(drawn, PolyCollection) for drawn in axes.collections):
        entries[BAND] = Patch(color="0.5", alpha=0.3, lw=0)
    place = {"loc": "outside upper left", "ncols": columns, "handlelength": 2.2, "columnspacing": 1.0}
    axes.figure.legend(entries.values(), entries.keys(), title=title, title_fontsize=7.5, alignment="left", **place)


def limits(axes: Axes, **ends: tuple[float | None, float | None]) -> None:
    """Set the ends of ``x`` and ``y`` that are finite: a panel without values has others, and keeps its own."""
    for axis, both in ends.items():
        axes.set(**{f"{axis}lim": [None if end is None or not np.isfinite(end) else end for end in both]})


def log_ticks(axis: Axis) -> None:
    """A log axis with plain numbers: at 1, 2 and 5, and at more of them where it spans less than a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def in_words(data: pandas.DataFrame) -> str:
    """What the lines do, for readers who cannot see them: first and last value of each measured series."""
    if not {"series", "x", "y", "n"} <= set(data.columns):
        return ""
    texts = []
    for (panel, name), part in data[data["n"] > 0].groupby(["panel", "series"], sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        where = f"{panel}, {name}" if panel else f"{name}"
        texts.append(f"{where}: {first['y']:.3g} at {first['x']:.3g}, {last['y']:.3g} at {last['x']:.3g}")
    return "; ".join(texts) + "." if texts else ""
