"""Linear models, for which the exact optimum in every norm is known (F5), and the table of ratios to it (T3)."""

from __future__ import annotations

import pandas
from matplotlib.figure import Figure

from src.report.figures.paper3_rows import BAND, COLOUR, NORMS, OWN, named
from src.report.figures.style import CLOSED_FORM, FORMULA, Plot, Table, canvas, formula, legend, lines, spread


def gap(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F5: 1 − γ/γ* against the step, every optimizer in its own norm, and 1/Σ η_t ∝ t^(a−1)."""
    slope = frame["optimizer_exponent"].median() - 1
    label = f"∝ t^({slope:.1f})".replace("-", "−")
    rows = named(frame[frame["optimizer_name"].isin(OWN) & (frame["step"] > 0)])
    gap = 1 - own_ratio(rows)
    rows = rows.assign(gap=gap.where(gap > 0))  # a log axis cannot show a gap of 0
    data = pandas.concat([
        spread(part, "step", "gap", "optimizer", panel).assign(rank=part["rank"].iloc[0])
        for (panel, _), part in rows.groupby(["data_name", "rank"], sort=True)
    ])  # fmt: skip
    panels, rates = sorted(rows["data_name"].unique()), []
    figure, grid = canvas(len(panels), 2.3)
    for axes, panel in zip(grid, panels, strict=True):
        part = data[data["panel"] == panel]
        lines(axes, part, COLOUR, markers=False)
        start, end = part["x"].max() / 30, part["x"].max()
        rate = formula([start, end], [(start / end) ** slope * part["y"].min(), part["y"].min()], label, panel)
        rates.append(rate)
        axes.plot(rate["x"], rate["y"], color=FORMULA, lw=1, ls=":", label=label, gid=CLOSED_FORM)
        axes.set(xscale="log", yscale="log", ylabel="1 − γ/γ*", title=panel, ylim=(None, 1.5))
    grid[-1].set(xlabel="step t")
    legend(grid[0], columns=3)
    return figure, pandas.concat([data.drop(columns="rank"), *rates])


def ratio_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T3: γ/γ* of every optimizer in every norm at the last step."""
    final = named(frame[frame["final"]])
    norms = [norm for norm in NORMS if f"ratio_{norm}" in final]
    medians = {f"γ/γ*, {NORMS[norm]}": (f"ratio_{norm}", "median") for norm in norms}
    final = final.assign(own=own_ratio(final), certified=own_ratio(final, "certified"))
    table = final.groupby(["data_name", "rank", "optimizer"]).agg(
        **medians, own=("own", "median"), worst=("own", "min"), certified=("certified", "min"), networks=("own", "size")
    )
    names = {"own": "in its own norm", "worst": "worst seed", "certified": "certified, worst seed", "data_name": "data"}
    return table.reset_index().drop(columns="rank").rename(columns=names)


def own_ratio(frame: pandas.DataFrame, column: str = "ratio") -> pandas.Series:
    """Return γ/γ*, or its ``certified`` lower bound, of every row in its optimizer's norm; NaN if unmeasured."""
    value = pandas.Series(float("nan"), frame.index)
    for name, norm in OWN.items():
        if f"{column}_{norm}" in frame:
            rows = frame["optimizer_name"] == name
            value[rows] = frame.loc[rows, f"{column}_{norm}"]
    return value


PLOTS = (
    Plot(
        "F5",
        "Linear models: distance to the exact optimum",
        "Relative gap between the margin and the optimal margin, every optimizer in the norm of the theorem, one panel "
        f"per data set; dotted: the slope of 1/Σ η_t, t^(a−1) with the schedule's exponent a. {BAND}",
        "1 − γ/γ*, γ* = max over ‖W‖ ≤ 1 of min_i y_i⟨W, x_i⟩",
        "Log–log plot of the gap to the optimal margin over the training step, one line per optimizer.",
        ("linear_margin",),
        ("optimizer_name", "optimizer_exponent", "data_name", "ratio_l2", "ratio_linf", "ratio_msp"),
        gap,
    ),
)
TABLES = (
    Table(
        "T3",
        "Linear models: fraction of the optimal margin",
        "Margin over the exact optimum at the last step, medians over seeds; in the optimizer's own norm also the "
        "worst seed, and a lower bound without a solver: margin over the dual bound from the training weights.",
        ("linear_margin",),
        ("optimizer_name", "ratio_l2", "ratio_linf", "ratio_msp", "certified_l2"),
        ratio_table,
    ),
)
