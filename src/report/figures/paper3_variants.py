"""Figures of ablations: Newton–Schulz steps (F9), Adam's ε (F10), exponent of the schedule (F11), momentum (F12)."""

from __future__ import annotations

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.report.figures.paper3_rows import BAND, COLOUR, at_lowest_loss, named
from src.report.figures.style import COLOURS, FORMULA, MARKERS, Plot, canvas, legend, lines, needed, spread

POLAR = {"svd": "SVD", "gram": "Gram", "exact": "by precision"}
"""Ways to the exact polar factor, as ``optimizer.polar_factor`` names them."""

POINTS = "Markers: median over seeds; bars: smallest to largest seed; hollow: some seed is not aligned (κ < 0.6)."


def polar(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F9: Muon with the exact polar factor and with Newton–Schulz steps."""
    final = named(frame[frame["final"]])
    final = final.assign(variant=final.apply(_polar_factor, axis=1))
    order = ["exact (SVD)", *sorted(set(final["variant"]) - {"exact (SVD)"})]
    exact = needed(final[final["variant"] == order[0]], "the exact polar factor")["gamma_msp"].median()
    final = final.assign(place=final["variant"].map(order.index), relative=final["gamma_msp"] / exact)
    columns = {"κ in msp": "kappa_msp", "γ in msp / exact": "relative"}
    data = _points(final, columns, "place", "optimizer")
    figure, panels = canvas(2, 0.6 + 0.24 * len(order))
    for axes, panel in zip(panels, columns, strict=True):
        _dots(axes, data[data["panel"] == panel], order)
        axes.set(xlabel=panel, ylabel="polar factor")
    panels[1].axvline(1, color=FORMULA, lw=1, ls="--", zorder=0)
    return figure, data.assign(place=data["place"].map(dict(enumerate(order))))


def _polar_factor(row: pandas.Series) -> str:
    """Return the polar factor of a row as text."""
    if row["optimizer_name"] == "muon":
        return f"exact ({POLAR[row['optimizer_polar_factor']]})"
    kind = row["optimizer_coefficients"].replace("_", " ")
    return f"{kind} × {int(row['optimizer_steps'])}, {row['optimizer_precision']}"


def epsilon(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F10: Adam's margin and alignment against ε."""
    rows = named(frame)
    values = sorted(rows["optimizer_epsilon"].astype(float).unique())
    rows = rows.assign(place=rows["optimizer_epsilon"].astype(float).map(values.index))
    moments = {"at matched loss": at_lowest_loss(rows), "at the last step": rows[rows["final"]]}
    columns = {"γ in ℓ∞": "gamma_linf", "κ in ℓ∞": "kappa_linf", "κ in ℓ2": "kappa_l2"}
    data = pandas.concat([
        spread(part, "place", column, moment, panel)
        for panel, column in columns.items()
        for moment, part in moments.items()
    ])  # fmt: skip
    figure, panels = canvas(len(columns), 1.6)
    for axes, panel in zip(panels, columns, strict=True):
        lines(axes, data[data["panel"] == panel])
        axes.set_xticks(range(len(values)), [f"{value:.0e}" if value else "0" for value in values])
        axes.set(ylabel=panel, ylim=(0, None if panel.startswith("γ") else 1))
    panels[-1].set(xlabel="ε, in units of the gradient of the loss")
    legend(panels[0])
    return figure, data.assign(x=data["x"].map(dict(enumerate(values))))


def exponent(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F11: alignment and margin of a deep network against the exponent a of the schedule."""
    final = named(frame[frame["final"]])
    depth, power = final["model_depth"].iloc[0], float(final["model_power"].iloc[0])
    degree = sum(power**layer for layer in range(depth))
    largest = final.groupby(["optimizer", "optimizer_exponent"])["gamma_own"].median().groupby("optimizer").max()
    final = final.assign(relative=final["gamma_own"] / final["optimizer"].map(largest))
    columns = {"κ, own norm": "kappa_own", "γ, own norm / largest": "relative"}
    data = pandas.concat([
        spread(part, "optimizer_exponent", column, name, panel)
        for panel, column in columns.items()
        for name, part in final.groupby("optimizer", sort=False)
    ])  # fmt: skip
    figure, panels = canvas(2, 2.1)
    for axes, panel in zip(panels, columns, strict=True):
        lines(axes, data[data["panel"] == panel], COLOUR)
        axes.axvline(1 - 1 / degree, color=FORMULA, lw=1, ls="--", zorder=0)
        axes.set(ylabel=panel)
    panels[-1].set(xlabel=f"exponent a (dashed: 1 − 1/L, L = {degree:g})")
    legend(panels[0], columns=4)
    return figure, data


def momentum(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F12: alignment and margin with and without momentum, at several initial learning rates."""
    final = named(frame[frame["final"]])
    final = final.assign(
        pair=final["optimizer"] + ", η₀ = " + final["optimizer_lr"].map("{:g}".format),
        series="β = " + final["optimizer_momentum"].map("{:g}".format),
    )
    order = list(final["pair"].unique())
    with_momentum = final[final["optimizer_momentum"] > 0].groupby("pair")["gamma_own"]
    final = final.assign(place=final["pair"].map(order.index))
    final["relative"] = final["gamma_own"] / final["pair"].map(with_momentum.median())
    columns = {"κ, own norm": "kappa_own", "γ, own norm / with momentum": "relative"}
    data = _points(final, columns, "place", "series")
    figure, panels = canvas(2, 0.8 + 0.28 * len(order))
    for axes, panel in zip(panels, columns, strict=True):
        _dots(axes, data[data["panel"] == panel], order)
        axes.set(xlabel=panel, ylabel="rule")
    panels[1].axvline(1, color=FORMULA, lw=1, ls="--", zorder=0)
    legend(panels[0])
    return figure, data.assign(place=data["place"].map(dict(enumerate(order))))


def _points(rows: pandas.DataFrame, columns: dict[str, str], place: str, series: str) -> pandas.DataFrame:
    """Return median and range of each column (panel → column) at every place, for each series."""
    return pandas.concat([
        spread(part, place, column, name, panel)
        for panel, column in columns.items()
        for name, part in rows.groupby(series, sort=True)
    ]).rename(columns={"x": "place", "y": "x"})  # fmt: skip


def _dots(axes: Axes, data: pandas.DataFrame, names: list[str]) -> None:
    """Draw one row per name, from the top: a marker at the median and a bar from lowest to highest member."""
    for index, (name, part) in enumerate(data.reset_index(drop=True).groupby("series", sort=False)):
        colour, marker = COLOURS[index], MARKERS[index]
        height = part["place"] + 0.18 * index
        axes.hlines(height, part["low"], part["high"], color=colour, lw=1.5, alpha=0.6)
        for converged, points in part.groupby(part["converged"] == 1):
            face = colour if converged else "white"
            style = {"marker": marker, "color": colour, "markerfacecolor": face}
            axes.plot(points["x"], height[points.index], linestyle="none", label=name, **style)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


PLOTS = (
    Plot(
        "F9",
        "Newton–Schulz steps instead of the polar factor",
        "Muon with the exact polar factor and with Newton–Schulz steps of three kinds (muon: Jordan's coefficients, as "
        "in torch.optim.Muon), × number of steps, precision: alignment in msp, and margin in msp over the median with "
        f"the SVD. {POINTS}",
        "X ← aX + (bA + cA²)X, A = XXᵀ, from X = M/‖M‖_F",
        "Two panels of markers, one row per way to compute the polar factor: alignment, and relative margin.",
        ("polar_margin",),
        ("optimizer_name", "kappa_msp", "gamma_msp"),
        polar,
    ),
    Plot(
        "F10",
        "Adam's ε",
        "Adam for several ε: margin and alignment in ℓ∞, and alignment in ℓ2, where the run first reaches the loss at "
        f"which runs are compared, and at the last step. The theorem has ε = 0. {BAND}",
        "θ ← θ − η_t m̂/(√v̂ + ε)",
        "Three panels over epsilon: margin in the max norm, alignment in it, alignment in the Euclidean norm.",
        ("epsilon_margin",),
        ("optimizer_epsilon", "matched", "compare_at_loss", "gamma_linf", "kappa_linf", "kappa_l2"),
        epsilon,
    ),
    Plot(
        "F11",
        "The exponent of the schedule on a deep network",
        "Alignment in the optimizer's own norm at the last step, and margin over the optimizer's largest, against the "
        "exponent a; the theorem needs a > 1 − 1/L (dashed) and a ≤ 1. All exponents have the same budget of "
        f"steps. {BAND} Hollow markers: some seed is not aligned (κ < 0.6).",
        "η_t = η₀((t + t₀)/t₀)^(−a)",
        "Two panels over the exponent, one line per optimizer, a dashed line at the theorem's bound.",
        ("deep_margin",),
        ("optimizer_exponent", "model_depth", "model_power", "kappa_own", "gamma_own"),
        exponent,
    ),
    Plot(
        "F12",
        "With momentum and without",
        "Alignment in the rule's own norm at the last step, and margin over the median with momentum at the same "
        f"initial learning rate; the smaller learning rate has more steps. {POINTS}",
        "m ← βm + (1 − β)g, u = argmax_{‖u‖=1} ⟨u, m⟩",
        "Two panels of markers, one row per rule and initial learning rate, one marker with and one without momentum.",
        ("momentum_margin",),
        ("optimizer_momentum", "optimizer_lr", "kappa_own", "gamma_own"),
        momentum,
    ),
)
