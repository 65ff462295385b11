"""Show the ratios of all parts measured so far: one table in Markdown and one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from src.report.figures import style

Record = Mapping[str, Any]


def table(records: Sequence[Record]) -> str:
    """Return the machine, and one row a series: lowest, median and highest ratio, and the load of the machine."""
    header = "| part | ratio of times | cases | lowest | median | highest | load |"
    lines = [*dict.fromkeys(map(origin, records)), "", header, "|" + " --- |" * 7]
    for record in records:
        for series, rows in by_series(record).items():
            values = [row["ratio"] for row in rows]
            cells = [f"{value:.3g}" for value in (min(values), median(values), max(values))]
            lines.append(f"| {record['part']} | {series} | {len(rows)} | {' | '.join(cells)} | {record['load']:g} |")
    return "\n".join(lines) + "\n"


def origin(record: Record) -> str:
    """Return a sentence with date, commit and machine."""
    git = record["git"] or {"sha": None, "dirty": False}
    commit = f"`{git['sha'][:7]}`" if git["sha"] else "an unknown commit"
    state = " with uncommitted changes" if git["dirty"] else ""
    size = " at the smallest size" if record["smoke"] else ""
    return (
        f"Measured {record['date'][:10]}{size} at {commit}{state}, on {record['cores']} cores ({record['cpu']}), "
        f"{record['threads']} thread, torch {record['torch']['version']}."
    )


def figure(records: Sequence[Record]) -> Figure:
    """Return a panel for each part: the ratios of its series on a logarithmic axis."""
    heights = [len({row["case"] for row in record["rows"]}) + 2 for record in records]
    drawn = Figure(figsize=(2 * style.WIDTH, 0.2 * sum(heights) + 0.8 * len(records)), layout="constrained")
    panels = drawn.subplots(len(records), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, record in zip(panels, records, strict=True):
        cases = list(dict.fromkeys(row["case"] for row in record["rows"]))
        for place, (series, rows) in enumerate(by_series(record).items()):
            look = {"marker": style.MARKERS[place], "color": style.COLOURS[place], "ls": "none", "label": series}
            axes.plot([row["ratio"] for row in rows], [cases.index(row["case"]) for row in rows], **look)
        axes.axvline(1, color=style.FORMULA, lw=0.8)
        axes.set(title=record["part"], yticks=range(len(cases)), yticklabels=cases, xscale="log")
        axes.set(ylim=(len(cases) - 0.5, -0.5))
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7)
    panels[-1].set_xlabel("ratio of times")
    return drawn


def by_series(record: Record) -> dict[str, list[Record]]:
    """Return the rows of each series."""
    names = dict.fromkeys(row["series"] for row in record["rows"])
    return {name: [row for row in record["rows"] if row["series"] == name] for name in names}
