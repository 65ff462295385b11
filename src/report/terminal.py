"""The verdicts as a table on a terminal: in colour there, plain when piped; numbers where there are no verdicts."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.claims.results import ClaimResult, Verdict
from src.report.html import measured, percent
from src.report.paper_page import counted

COLOUR = {
    Verdict.REPRODUCED: "green", Verdict.PASSED: "green", Verdict.CONTRADICTED: "bold red", Verdict.FAILED: "bold red",
    Verdict.INCONCLUSIVE: "yellow", Verdict.NOT_RUN: "dim",
}  # fmt: skip
NOT_MEASURED = {"step", "member", "seed", "own_steps", "matched"}
UNLIMITED = 10_000
"""Columns of a file: lines are not wrapped."""


def verdicts(judged: Sequence[ClaimResult], colour: bool | None = None) -> str:
    """Return a table of the claims with the reason below a verdict that has one, their counts, then the checks.

    ``colour`` is whether stderr is a terminal unless it is given; then lines fit its width.
    """
    on_terminal = sys.stderr.isatty() if colour is None else colour
    console = Console(
        file=io.StringIO(), force_terminal=on_terminal, width=None if on_terminal else UNLIMITED, highlight=False
    )
    console.print(_table(result for result in judged if not result.check))
    console.print(" · ".join(f"{count} {verdict}" for verdict, count in counted(judged).items()))
    if checks := [result for result in judged if result.check]:
        console.print("checks of the code:")
        console.print(_table(checks))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def numbers(rows: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Return, for each cell, the median and the range over members of every measured number in their last rows.

    For experiments without claims. ``rows`` maps a cell's name to all of its rows.
    """
    lines = []
    for cell, its_rows in rows.items():
        last = [row for row in its_rows if row["final"]]
        lines.append(f"{cell}: median and range of {len(last)} network(s)")
        for name in [name for name in last[0] if name not in NOT_MEASURED]:
            found = [row.get(name) for row in last]
            known = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
            values = sorted(value for value in known if not isnan(value))
            if values:
                lines.append(f"  {name:<24}{median(values):>12.4g}   {values[0]:.4g} to {values[-1]:.4g}")
    return "\n".join(lines)


def _table(judged: Iterable[ClaimResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("claim", "verdict", "measured [95 %]", "criterion", "n", "converged", "number"):
        table.add_column(title, overflow="fold", no_wrap=title != "number")
    for result in judged:
        name = Text(result.name)
        if result.reason:
            name.append(f"\n{result.reason}", "dim")
        verdict = Text(result.verdict, COLOUR.get(result.verdict, ""))
        texts = (measured(result), result.criterion, str(result.n), percent(result.converged))
        table.add_row(result.id, verdict, *map(Text, texts), name)
    return table
