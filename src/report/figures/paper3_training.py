"""Figures of training: margins against the loss (F1, F14), direction (F2, F15), alignment and learning rate (F6)."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas
from matplotlib.figure import Figure

from src.report.figures import published
from src.report.figures.paper3_rows import BAND, COLOUR, NORMS, named
from src.report.figures.style import Plot, canvas, is_curve, legend, limits, lines, log_ticks, needed, spread

LOSSES = np.round(np.geomspace(0.5, 300, 60), 3)
"""Values of −log10 loss at which margins are read."""
FRACTIONS = np.round(np.geomspace(0.005, 1, 60), 4)
"""Shares of a member's own steps at which directions are read."""


def margin_vs_loss(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F1: margin in each norm against the loss, so that runs are compared at equal loss; published ones below."""
    frame = named(frame)
    frame = frame.assign(decades=-frame["log_risk"].astype(float) / np.log(10))
    data = pandas.concat([
        spread(_on_grid(part, "decades", f"gamma_{norm}", LOSSES), "x", "y", name, panel)
        for norm, panel in NORMS.items()
        for name, part in frame.groupby("optimizer", sort=False)
    ])  # fmt: skip
    members = frame.groupby("optimizer")[["cell", "member"]].apply(lambda part: len(part.drop_duplicates()))
    data = data[data["n"] >= data["series"].map(members) / 2]
    figure, panels = canvas(len(NORMS), 1.75)
    theirs = published.margins()
    theirs = theirs[(theirs["power"] == float(frame["model_power"].iloc[0])) & (theirs["log10_loss"] < -LOSSES[0])]
    for axes, (norm, panel) in zip(panels, NORMS.items(), strict=True):
        lines(axes, data[data["panel"] == panel], COLOUR, markers=False)
        for name, part in theirs[theirs["norm"] == norm].groupby("optimizer_name", sort=False):
            published.draw(axes, str(name), -part["log10_loss"], part["mean"], part["low"], part["high"])
        lowest = data.loc[data["panel"] == panel, "y"].min()  # margins start near 0 when a seed first fits the data
        axes.set(yscale="log", ylabel=f"margin γ, {panel}")
        limits(axes, y=(min(lowest, theirs.loc[theirs["norm"] == norm, "low"].min()) / 2, None))
        log_ticks(axes.xaxis)
        for loss in frame["compare_at_loss"].iloc[0][-1:]:
            axes.axvline(-np.log10(loss), color="0.25", lw=1, ls="--", zorder=0)
    panels[-1].set(xlabel="−log₁₀ loss (dashed: where runs are compared)")
    legend(panels[0], columns=3)
    return figure, data


def _on_grid(frame: pandas.DataFrame, x: str, y: str, grid: np.ndarray) -> pandas.DataFrame:
    """Return positive ``y`` at ``grid`` values of ``x`` per member, log-linear between rows with a new largest x."""
    tables = [pandas.DataFrame({"x": [], "y": [], "converged": []})]
    for (cell, member), rows in frame.groupby(["cell", "member"]):
        rows = rows.sort_values("step")
        xs, ys = rows[x].to_numpy(dtype=float), rows[y].to_numpy(dtype=float)
        forward = (xs > np.maximum.accumulate(np.r_[-np.inf, xs[:-1]])) & (ys > 0)
        xs, ys = xs[forward], ys[forward]
        if len(xs) == 0:  # the member never fits the data
            continue
        within = grid[(xs.min() <= grid) & (xs.max() >= grid)]
        values = {"x": within, "y": np.exp(np.interp(within, xs, np.log(ys)))}
        converged = bool(rows["converged"].iloc[-1])
        tables.append(pandas.DataFrame(values).assign(cell=cell, member=member, converged=converged))
    return pandas.concat(tables, ignore_index=True)


def direction(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F2: 1 − cos(θ_t, θ_T), from the sketches, and the remaining growth of the norm; published cosines below."""
    sketched = frame["direction_sketch"].map(is_curve)
    rows = named(needed(frame[sketched & (frame["step"] > 0)], "a sketch of the direction")).reset_index(drop=True)
    last = rows[rows["final"]].set_index(["cell", "member"])
    of_member = pandas.MultiIndex.from_frame(rows[["cell", "member"]])
    turn, growth = "1 − cos(θ_t, θ_T)", "‖θ_T‖ / ‖θ_t‖"
    rows["turn"] = 1 - rows["cosine_to_last"].astype(float)
    rows["growth"] = last.loc[of_member, "norm"].to_numpy() / rows["norm"]
    rows["share"] = rows["own_steps"] / rows["steps_taken"]
    before = rows[rows["own_steps"] < rows["steps_taken"]]
    data = pandas.concat([
        spread(_on_grid(part, "share", column, FRACTIONS), "x", "y", name, panel)
        for column, panel in (("turn", turn), ("growth", growth))
        for name, part in before.groupby("optimizer", sort=False)
    ])  # fmt: skip
    figure, panels = canvas(2, 2.2)
    theirs = published.cosines()
    for name, part in theirs[theirs["power"] == float(frame["model_power"].iloc[0])].groupby("optimizer_name"):
        published.draw(panels[0], str(name), part["fraction"], 1 - part["cosine"])
    for axes, panel in zip(panels, (turn, growth), strict=True):
        lines(axes, data[data["panel"] == panel], COLOUR, markers=False)
        axes.set(xscale="log", yscale="log", ylabel=panel)
        axes.axvline(0.5, color="0.25", lw=1, ls="--", zorder=0)
    panels[0].axhline(0.01, color="0.25", lw=1, ls=":", zorder=0)
    panels[-1].set(xlabel="t / T, share of the run's own steps (dashed: ½)")
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


PUBLISHED = "Wide pale lines, with 95 % bands: the paper's, read off its figures (n = 2048, width not stated)."


def _margins(number: str, title: str, experiment: str) -> Plot:
    """Return the plot ``margin_vs_loss`` of one experiment."""
    return Plot(
        number,
        title,
        "Normalised margin in four norms against the loss, one line per optimizer; log-linear between measured steps; "
        "shown where at least half of the seeds have values. "
        f"Compare lines within a panel only: margins in different norms have different units. {BAND} {PUBLISHED}",
        "γ = min_i y_i f(x_i; θ) / ‖θ‖^L",
        "Four panels, one per norm, of the margin over minus log ten of the loss, one line per optimizer.",
        (experiment,),
        ("optimizer_name", "log_risk", "compare_at_loss", "model_power", *(f"gamma_{norm}" for norm in NORMS)),
        margin_vs_loss,
    )


def _directions(number: str, title: str, experiment: str) -> Plot:
    """Return the plot ``direction`` of one experiment."""
    return Plot(
        number,
        title,
        "Distance to the last direction (above; dotted: cos = 0.99) and remaining growth of the norm (below), against "
        "the share of a run's own steps. Decreasing learning rates alone make directions converge, so read both "
        "together. Cosines are estimated from a random sketch, with a standard error of about 9 % of 1 − cos. "
        f"{BAND} {PUBLISHED}",
        "1 − cos(θ_t, θ_T) ≈ ½‖s_t − s_T‖²",
        "Two panels over the share of the steps, log–log: one minus cosine with the last iterate, and norm growth.",
        (experiment,),
        ("optimizer_name", "direction_sketch", "norm", "own_steps", "model_power"),
        direction,
    )


PLOTS = (
    _margins("F1", "Margins against the loss", "muon_margin"),
    _margins("F14", "Margins against the loss, with ReLU", "relu_margin"),
    _directions("F2", "Does the direction converge?", "muon_margin"),
    _directions("F15", "Does the direction converge, with ReLU?", "relu_margin"),
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
