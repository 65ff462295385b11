"""Figures of training: margins against the loss (F1), direction (F2), alignment and learning rate (F6)."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas
from matplotlib.figure import Figure

from src.report.figures.paper3_rows import BAND, COLOUR, NORMS, named
from src.report.figures.style import Plot, canvas, is_curve, legend, limits, lines, log_ticks, needed, spread

GRID = np.round(np.geomspace(0.5, 300, 60), 3)
"""Values of −log10 loss at which margins are read."""


def margin_vs_loss(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F1: margin in each norm against the loss, so that runs are compared at equal loss."""
    frame = named(frame)
    data = pandas.concat([
        spread(_at_losses(part, f"gamma_{norm}"), "x", "y", name, panel)
        for norm, panel in NORMS.items()
        for name, part in frame.groupby("optimizer", sort=False)
    ])  # fmt: skip
    members = frame.groupby("optimizer")[["cell", "member"]].apply(lambda part: len(part.drop_duplicates()))
    data = data[data["n"] >= data["series"].map(members) / 2]
    figure, panels = canvas(len(NORMS), 1.75)
    for axes, panel in zip(panels, NORMS.values(), strict=True):
        lines(axes, data[data["panel"] == panel], COLOUR, markers=False)
        lowest = data.loc[data["panel"] == panel, "y"].min()  # margins start near 0 when a seed first fits the data
        axes.set(yscale="log", ylabel=f"margin γ, {panel}")
        limits(axes, y=(lowest / 2, None))
        log_ticks(axes.xaxis)
        axes.axvline(-np.log10(frame["compare_at_loss"].iloc[0]), color="0.25", lw=1, ls="--", zorder=0)
    panels[-1].set(xlabel="−log₁₀ loss (dashed: where runs are compared)")
    legend(panels[0], columns=3)
    return figure, data


def _at_losses(frame: pandas.DataFrame, column: str) -> pandas.DataFrame:
    """Return ``column`` at the losses of ``GRID``, per member, log-linear between rows of a new lowest loss."""
    tables = [pandas.DataFrame({"x": [], "y": [], "converged": []})]
    for (cell, member), rows in frame.groupby(["cell", "member"]):
        rows = rows.sort_values("step")
        x = -rows["log_risk"].to_numpy(dtype=float) / np.log(10)
        y = rows[column].to_numpy(dtype=float)
        lower = (x > np.maximum.accumulate(np.r_[-np.inf, x[:-1]])) & (y > 0)
        x, y = x[lower], y[lower]
        if len(x) == 0:  # the member never fits the data
            continue
        within = GRID[(x.min() <= GRID) & (x.max() >= GRID)]
        values = {"x": within, "y": np.exp(np.interp(within, x, np.log(y)))}
        converged = bool(rows["converged"].iloc[-1])
        tables.append(pandas.DataFrame(values).assign(cell=cell, member=member, converged=converged))
    return pandas.concat(tables, ignore_index=True)


def direction(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F2: 1 − cos(θ_t, θ_T), from the sketches, and the remaining growth of the norm."""
    sketched = frame["direction_sketch"].map(is_curve)
    rows = named(needed(frame[sketched & (frame["step"] > 0)], "a sketch of the direction")).reset_index(drop=True)
    last = rows[rows["final"]].set_index(["cell", "member"])
    of_member = pandas.MultiIndex.from_frame(rows[["cell", "member"]])
    sketch, end = (np.array(part["direction_sketch"].tolist()) for part in (rows, last.loc[of_member]))
    # cos(θ_t, θ_T) = 1 − ‖s_t − s_T‖²/2
    turn, growth = "1 − cos(θ_t, θ_T)", "‖θ_T‖ / ‖θ_t‖"
    rows["turn"] = np.square(sketch - end).sum(1) / 2
    rows["growth"] = last.loc[of_member, "norm"].to_numpy() / rows["norm"]
    before = rows[~rows["final"]]
    data = pandas.concat([
        spread(before, "step", "turn", "optimizer", turn), spread(before, "step", "growth", "optimizer", growth)
    ])  # fmt: skip
    data["rank"] = data["series"].map(rows.groupby("optimizer")["rank"].first())
    data = data.sort_values(["rank", "x"], kind="stable").drop(columns="rank")
    figure, panels = canvas(2, 2.2)
    for axes, panel in zip(panels, (turn, growth), strict=True):
        lines(axes, data[data["panel"] == panel], COLOUR, markers=False)
        axes.set(xscale="log", yscale="log", ylabel=panel)
        for part in (4, 2):
            axes.axvline(rows["step"].max() / part, color="0.25", lw=1, ls="--", zorder=0)
    panels[0].axhline(0.01, color="0.25", lw=1, ls=":", zorder=0)
    panels[-1].set(xlabel="step t (dashed: T/4 and T/2)")
    legend(panels[0], columns=3)
    return figure, data


def step_size(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F6: alignment κ in the optimizer's own norm against the step, coloured by the initial learning rate."""
    rows = named(frame[frame["step"] > 0])
    data = pandas.concat([
        spread(part, "step", "kappa_own", "vars_factor", name) for name, part in rows.groupby("optimizer", sort=False)
    ])  # fmt: skip
    names = list(rows["optimizer"].unique())
    factors = sorted(data["series"].unique())
    colour = dict(zip(factors, mpl.colormaps["viridis"](np.linspace(0, 0.9, len(factors))), strict=True))
    figure, panels = canvas(len(names), 1.35)
    for axes, name in zip(panels, names, strict=True):
        lines(axes, data[data["panel"] == name], colour, markers=False)
        axes.set(xscale="log", ylim=(-0.05, 1.05), ylabel="κ, own norm", title=name)
    panels[-1].set(xlabel="step t")
    legend(panels[0], title="η₀ over the default", columns=3)
    return figure, data


PLOTS = (
    Plot(
        "F1",
        "Margins against the loss",
        "Normalised margin in four norms against the loss, one line per optimizer; log-linear between measured steps; "
        "shown where at least half of the seeds have values. "
        f"Compare lines within a panel only: margins in different norms have different units. {BAND}",
        "γ = min_i y_i f(x_i; θ) / ‖θ‖^L",
        "Four panels, one per norm, of the margin over minus log ten of the loss, one line per optimizer.",
        ("muon_margin",),
        ("optimizer_name", "log_risk", "compare_at_loss", *(f"gamma_{norm}" for norm in NORMS)),
        margin_vs_loss,
    ),
    Plot(
        "F2",
        "Does the direction converge?",
        "Distance to the last direction (above; dotted: cos = 0.99) and remaining growth of the norm (below). "
        "Decreasing learning rates alone make directions converge, so read both together. Cosines are estimated from a "
        f"random sketch, with a standard error of about 9 % of 1 − cos. {BAND}",
        "1 − cos(θ_t, θ_T) ≈ ½‖s_t − s_T‖²",
        "Two panels over the training step, log–log: one minus cosine with the last iterate, and norm growth.",
        ("muon_margin",),
        ("optimizer_name", "direction_sketch", "norm"),
        direction,
    ),
    Plot(
        "F6",
        "Alignment and the initial learning rate",
        "KKT alignment of each optimizer in its own norm during training, for initial learning rates around the "
        "default. Data subsets and seeds differ from those on which the default was chosen. Lines jump where the "
        f"learning rate is too large to follow the flow. {BAND}",
        "κ = ⟨g, θ⟩ / (‖g‖_* ‖θ‖) ≤ 1, g = Σ λ_i y_i ∇f(x_i; θ)",
        "One panel per optimizer: alignment over the training step, one line per initial learning rate.",
        ("base_rate_margin",),
        ("optimizer_name", "vars_factor", "kappa_own"),
        step_size,
    ),
)
