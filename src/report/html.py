"""Write pages from templates, and format numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.claims.intervals import least_share
from src.claims.results import Result, Verdict
from src.claims.schema import WORST
from src.results import store

PAGES = Path(__file__).resolve().parent / "pages"


Entry = dict[str, Any]
"""What a template shows of a claim, figure, table or report."""


def write_page(path: Path, template: str, context: Mapping[str, object]) -> None:
    """Write one self-contained HTML file from ``src/report/pages/<template>.html.j2``, atomically."""
    import jinja2

    loader = jinja2.FileSystemLoader(PAGES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["verdict_words"] = tuple(Verdict)
    environment.filters |= {"number": number, "percent": percent, "measured": measured}
    text = environment.get_template(f"{template}.html.j2").render(context)
    store.replace(path, text.encode("utf-8", "replace"))  # a path may contain bytes that are not UTF-8


def measured(result: Result) -> str:
    """Return estimate and interval as text, with the decimals that the interval determines.

    A worst-case value has a range over seeds in parentheses instead of an interval, and the number of seeds in which
    the criterion holds, with the share of all seeds that this implies at a one-sided level of 95 %.

    >>> known = {"statistic": "median", "verdict": "informational"}
    >>> measured(Result(estimate=0.500213, low=0.49814, high=0.50233, **known))
    '0.5002 [0.4981, 0.5023]'
    >>> measured(Result(estimate=0.0, low=0.0, high=0.00299, **known))
    '0 [0, 0.003]'
    >>> measured(Result(estimate=0.0047, low=0.0032, high=0.0047, **known | {"statistic": "max"}))
    '0.0047 (0.0032 to 0.0047)'
    >>> measured(Result(estimate=1.3, low=1.3, high=2.0, seeds=5, seeds_held=5, **known | {"statistic": "min"}))
    '1.3 (1.3 to 2), in 5 of 5 seeds (≥ 55 %)'
    """
    if result.estimate is None:
        return "–"
    ends = [result.estimate if end is None else end for end in (result.low, result.high)]  # or no interval
    values = [result.estimate, *ends]
    if result.statistic in WORST:
        texts = [number(value) for value in values]
        text = texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]} to {texts[2]})"
        if result.seeds is None or result.seeds_held is None:
            return text
        share = 100 * least_share(result.seeds_held, result.seeds)
        return f"{text}, in {result.seeds_held} of {result.seeds} seeds (≥ {share:.0f} %)"
    if values[1] == values[2]:
        return number(values[0])
    decimals = 1 - math.floor(math.log10(values[2] - values[1]))
    texts = [f"{round(value, decimals):.7g}" if 0 <= decimals <= 6 else number(value) for value in values]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def number(value: object) -> str:
    """Return a number with four significant digits, and text unchanged."""
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)


def percent(fraction: float | None) -> str:
    """Return a fraction in percent, rounded down, so that only 1 is ``100 %``."""
    return "–" if fraction is None else f"{math.floor(100 * fraction)} %"
