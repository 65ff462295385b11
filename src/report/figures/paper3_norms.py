"""Margin and alignment of every optimizer in every norm (F3), of hybrids (F4), in Schatten norms (F7)."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.figure import Figure

from src.report.figures.paper3_rows import BAND, NORMS, OPTIMIZERS, OWN, at_lowest_loss, heat, named
from src.report.figures.style import COLOURS, WIDTH, Plot, Table, canvas, is_curve, legend, lines, needed, spread


def which_margin(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F3, the main figure: γ over the largest in its column, and κ, of every optimizer in every norm."""
    rows = named(frame)
    moments = {"at matched loss": at_lowest_loss(rows), "at the last step": rows[rows["final"]]}
    moments = {moment: part for moment, part in moments.items() if len(part)}
    data = pandas.concat([_by_optimizer(part).assign(panel=moment) for moment, part in moments.items()])
    figure = Figure(figsize=(WIDTH, 2.1 * len(moments) + 0.2), layout="constrained")
    grids = figure.subplots(len(moments), 2, sharey=True, squeeze=False)
    order = list(rows["optimizer"].unique())
    marked = [(order.index(OPTIMIZERS[name]), list(NORMS).index(norm)) for name, norm in OWN.items()
              if OPTIMIZERS[name] in order]  # fmt: skip
    for (left, right), (moment, part) in zip(grids, data.groupby("panel", sort=False), strict=True):
        for axes, value, title in ((left, "share", "γ / largest γ"), (right, "kappa", "κ")):
            grid = part.pivot(index="series", columns="norm", values=value).reindex(order)[[*NORMS.values()]]
            heat(axes, grid, marked)
            axes.set(title=title, xlabel="", ylabel=moment if axes is left else "")
            axes.tick_params(labelsize=7, length=0)
            axes.tick_params(axis="x", labelsize=6.5, rotation=0)
    return figure, data


def _by_optimizer(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return medians over members of γ and κ, and γ over the largest median in its norm."""
    tables = []
    for norm, name in NORMS.items():
        grouped = rows.groupby("optimizer", sort=False)
        table = grouped.agg(gamma=(f"gamma_{norm}", "median"), kappa=(f"kappa_{norm}", "median"), n=("member", "size"))
        tables.append(table.assign(norm=name, share=table["gamma"] / table["gamma"].max()))
    return pandas.concat(tables).rename_axis("series").reset_index()


def margin_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T2: γ and κ of every optimizer in every norm at both moments, medians over seeds."""
    rows = named(frame)
    columns = {f"{sign} {name}": (f"{what}_{norm}", "median") for what, sign in (("gamma", "γ"), ("kappa", "κ"))
               for norm, name in NORMS.items()}  # fmt: skip
    tables = []
    for moment, part in (("matched loss", at_lowest_loss(rows)), ("last step", rows[rows["final"]])):
        part = part.assign(loss=part["log_risk"] / np.log(10))
        table = part.groupby(["rank", "optimizer"]).agg(
            **columns, loss=("loss", "median"), step=("step", "median"), train=("train_error", "median"),
            test=("test_error", "median"), aligned=("converged", "mean"), networks=("member", "size"),
        )  # fmt: skip
        table = table.reset_index().drop(columns="rank")
        table.insert(1, "at", moment)
        tables.append(table)
    names = {"loss": "log₁₀ loss", "train": "train error", "test": "test error", "aligned": "fraction with κ own ≥ 0.6"}
    return pandas.concat(tables).rename(columns=names)


def hybrids(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F4: κ in max{r'·msp(W), ‖u‖_∞} against r', one curve for each ratio r of learning rates."""
    final = _with_curve(named(frame), "kappa_hyb_curve")
    points = final.explode(["hyb_ratio", "kappa_hyb_curve"]).astype({"hyb_ratio": float, "kappa_hyb_curve": float})
    data = spread(points, "hyb_ratio", "kappa_hyb_curve", "optimizer_ratio")
    figure, (axes,) = canvas(height=2.9)
    ratios = sorted(data["series"].unique())
    colour = dict(zip(ratios, COLOURS, strict=False))
    lines(axes, data, colour)
    for ratio in ratios:
        axes.axvline(ratio, color=colour[ratio], lw=1, ls=":", zorder=0)
    axes.set(xscale="log", xlabel="r′ of the norm (dotted: r′ = r)", ylabel="κ in max{r′·msp(W), ‖u‖∞}")
    legend(axes, title="r = η₀ of Adam / η₀ of Muon", columns=5)
    return figure, data


def schatten(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F7: margin and alignment in Schatten-p' after descent in Schatten-p."""
    final = _with_curve(frame, "kappa_schatten_curve")
    curves = ["schatten_p", "gamma_schatten_curve", "kappa_schatten_curve"]
    points = final.explode(curves).astype(dict.fromkeys(curves, float))
    data = points.groupby(["optimizer_p", "schatten_p"]).agg(
        gamma=("gamma_schatten_curve", "median"), kappa=("kappa_schatten_curve", "median"), n=("member", "size")
    )
    data["share"] = data["gamma"] / data.groupby("schatten_p")["gamma"].transform("max")
    data = data.reset_index()
    figure, panels = canvas(2, 2.3)
    for axes, value, title in zip(panels, ("share", "kappa"), ("γ / largest γ of the column", "κ"), strict=True):
        grid = data.pivot(index="optimizer_p", columns="schatten_p", values=value)
        marked = [(row, column) for row, p in enumerate(grid.index) for column, q in enumerate(grid.columns) if p == q]
        grid.index, grid.columns = grid.index.map("{:g}".format), grid.columns.map("{:g}".format)
        heat(axes, grid, marked)
        axes.set(title=title, xlabel="p′ of the margin", ylabel="p of the descent")
        axes.tick_params(length=0)
    return figure, data


def _with_curve(frame: pandas.DataFrame, column: str) -> pandas.DataFrame:
    """Return rows of the last step with a curve."""
    return needed(frame[frame["final"] & frame[column].map(is_curve)], "a curve of alignments")


WHICH_CAPTION = (
    "Left: margin over the largest in its column; right: KKT alignment. Above: where each run first reaches the loss "
    "at which runs are compared (over the seeds that reach it; blank if none); below: at the last step. Medians over "
    "seeds; a frame marks the norm of the theorem for the optimizer."
)


def _which(number: str, title: str, experiment: str) -> Plot:
    """Return the plot ``which_margin`` of one experiment."""
    return Plot(
        number,
        title,
        WHICH_CAPTION,
        "γ = min_i y_i f(x_i; θ) / ‖θ‖^L · κ = ⟨g, θ⟩ / (‖g‖_* ‖θ‖), g = Σ λ_i y_i ∇f(x_i; θ)",
        "Four heat maps, optimizers down and norms across: relative margin and alignment, at two moments.",
        (experiment,),
        (
            "optimizer_name",
            "matched",
            "compare_at_loss",
            *(f"{what}_{norm}" for what in ("gamma", "kappa") for norm in NORMS),
        ),
        which_margin,
    )


PLOTS = (
    _which("F3", "Which margin does each optimizer maximise?", "muon_margin"),
    _which("F8", "The same with ReLU", "relu_margin"),
    _which("F13", "The same on CIFAR-10", "cifar_margin"),
    Plot(
        "F4",
        "The hybrid norm of Muon-Adam",
        "KKT alignment of Muon-Adam at the last step in the norm max{r′·msp(W), ‖u‖∞}, against r′, for several ratios "
        f"r of initial learning rates. The theorem predicts the peak at r′ = r. {BAND}",
        "κ_r′ = ⟨g, θ⟩ / ((Σ‖G_k‖_nuc/r′ + ‖g_u‖₁) · max{r′·msp(W), ‖u‖∞})",
        "Alignment over the ratio of the norm, one curve per ratio of learning rates, a dotted line at each ratio.",
        ("hybrid_margin",),
        ("optimizer_ratio", "hyb_ratio", "kappa_hyb_curve"),
        hybrids,
    ),
    Plot(
        "F7",
        "Descent in Schatten norms",
        "Steepest descent in Schatten-p (p = 2 is NGD's norm, large p approaches Muon's): margin in Schatten-p′ over "
        "the largest in its column (above) and alignment (below) at the last step, medians over seeds; a frame marks "
        "p′ = p.",
        "‖W‖_p = (Σ_k Σ_j σ_j(W_k)^p)^{1/p}",
        "Two heat maps, exponent of the descent down and of the margin across.",
        ("schatten_margin",),
        ("optimizer_p", "schatten_p", "gamma_schatten_curve", "kappa_schatten_curve"),
        schatten,
    ),
)
TABLES = (
    Table(
        "T2",
        "Margins and alignments of every optimizer",
        "Medians over seeds, where each run first reaches the loss at which runs are compared, and at the last step. "
        "Margins are comparable within a column, alignments also within a row. A run follows the flow if κ in its own "
        "norm is at least 0.6.",
        ("muon_margin",),
        ("optimizer_name", "matched", "compare_at_loss", "kappa_own", "train_error", "test_error"),
        margin_table,
    ),
)
