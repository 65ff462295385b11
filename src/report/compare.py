"""Two results side by side: which verdicts and numbers moved, and whether by more than noise. No torch here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src import cli
from src.claims.results import ClaimResult, Result
from src.errors import ConfigError, nearest, reason
from src.report import html, paper_page
from src.results import store

BEYOND, WITHIN, SAME = "beyond noise", "within noise", "same"
UNKNOWN, ONE_SIDED = "moved, noise unknown", "on one side only"
HOW = (BEYOND, UNKNOWN, WITHIN, SAME, ONE_SIDED)
Reports = dict[str, list[ClaimResult]]
"""Name of a report → the results of its claims."""


def write(pair: str, page: Path | None = None) -> str:
    """Compare ``A,B``, two folders of outputs or of one report each; what moved, as text. The page shows all.

    Raises:
        ConfigError: when that are not two folders with results, or no report of one is in the other.
    """
    names = [name.strip() and str(cli.path(name.strip(), "compare")) for name in pair.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigError("compare", pair, "must be two folders, A,B")
    left, right = (reports_in(Path(name)) for name in names)
    if len(left) == len(right) == 1:  # two reports are compared whatever they are called
        right = dict(zip(left, right.values(), strict=True))
    if not left.keys() & right.keys():
        raise ConfigError("compare", pair, f"no report in common: {', '.join(left)} here, {', '.join(right)} there")
    claims = compared(left, right)
    summary = summed_up(claims, left, right)
    folder = Path(names[1]) / "reports" if (Path(names[1]) / "reports").is_dir() else Path(names[1]).parent
    plain = [re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names]
    page = page or folder / f"compared-{'-and-'.join(plain)}.html"
    machines = [computed_on(Path(name)) for name in names]
    facts = [(fact, *(machine.get(fact, "not recorded") for machine in machines))
             for fact in dict.fromkeys(fact for machine in machines for fact in machine)]  # fmt: skip
    context = {"a": names[0], "b": names[1], "claims": claims, "summary": summary, "several": len(left) > 1}
    context["facts"] = facts
    context["verdicts"] = Counter(claim["b"] or claim["a"] for claim in claims)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        html.write_page(page, "compare", context)
    except OSError as error:
        raise ConfigError("out", page, f"cannot be written: {reason(error)}") from error
    computed = "".join(f"{fact}: {a}{f' → {b}' if b != a else ''}\n" for fact, a, b in facts)
    return f"{table_of(claims)}\n{computed}{summary}\npage: {page}"


def reports_in(folder: Path) -> Reports:
    """The reports of a folder of outputs, or the one report that a folder is.

    Raises:
        ConfigError: when it is neither.
    """
    if not folder.is_dir():
        known = [str(path) for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise ConfigError("compare", folder, f"no such folder{nearest(str(folder), known)}")
    if (folder / "claims.json").exists():
        return {folder.name: paper_page.read_claims(folder / "claims.json")}
    files = sorted(folder.glob("reports/*/claims.json"))
    found = {file.parent.name: paper_page.read_claims(file) for file in files}
    if not found:
        raise ConfigError("compare", folder, "holds no report: neither claims.json nor reports/*/claims.json")
    return found


def computed_on(folder: Path) -> dict[str, str]:
    """On what the reports of a folder were computed: the CPUs, and the kernels that PyTorch and its libraries chose."""
    files = [folder / "provenance.json", *sorted(folder.glob("reports/*/provenance.json"))]
    found: dict[str, set[str]] = {}
    for facts in filter(None, map(store.read_json, files)):
        for fact, value in facts.items():
            if fact in ("cpu", "dispatch"):
                found.setdefault(fact, set()).add(value)
    return {fact: "; ".join(sorted(values)) for fact, values in found.items()}


def compared(left: Reports, right: Reports) -> list[dict[str, Any]]:
    """Every claim of the reports that both have: ``{report, id, statement, a, b, moved, numbers}``.

    ``a`` and ``b`` are its verdicts, None where it is missing; ``numbers`` are its parts, group by group, as
    ``{name, a, b, how}`` with ``how`` one of the constants above.
    """
    rows = []
    for name in left:
        if name not in right:
            continue
        here, there = ({result.id: result for result in reports[name]} for reports in (left, right))
        for claim in dict.fromkeys([*here, *there]):
            a, b = here.get(claim), there.get(claim)
            first, second = ({} if result is None else _numbers(result) for result in (a, b))
            numbers = [_number(of, first.get(of), second.get(of)) for of in dict.fromkeys([*first, *second])]
            verdicts = [result and result.verdict for result in (a, b)]
            rows.append({
                "report": name,
                "id": claim,
                "statement": (there | here)[claim].statement,
                "a": verdicts[0],
                "b": verdicts[1],
                "moved": verdicts[0] != verdicts[1],
                "numbers": numbers,
            })  # fmt: skip
    return rows


def moved(a: Result, b: Result) -> str:
    """Whether a number moved by more than noise: intervals (of the worst network, ranges) without a common point.

    Without an interval (one seed, say), nobody knows, unless the number lies in the interval of the other.

    >>> known = {"statistic": "median", "verdict": "informational"}
    >>> number = Result(estimate=1.0, low=0.9, high=1.1, **known)
    >>> moved(number, number), moved(number, Result(estimate=1.2, low=1.15, high=1.3, **known))
    ('same', 'beyond noise')
    >>> moved(number, Result(estimate=1.05, **known)), moved(number, Result(estimate=1.2, **known))
    ('within noise', 'moved, noise unknown')
    """
    if a.estimate is None or b.estimate is None:
        return SAME if a.estimate == b.estimate else ONE_SIDED
    first, second = ([at if end is None else end for end in (side.low, side.high)]
                     for side, at in ((a, a.estimate), (b, b.estimate)))  # fmt: skip
    if a.estimate == b.estimate and first == second:
        return SAME
    if first[0] <= second[1] and second[0] <= first[1]:
        return WITHIN
    return UNKNOWN if a.low is None or b.low is None else BEYOND


def _numbers(claim: ClaimResult) -> dict[str, tuple[Result, str]]:
    """Return the numbers of a claim and their criteria, by name and group."""
    numbers: dict[str, tuple[Result, str]] = {}
    for number in claim.numbers:
        for group in number.groups or [number]:
            name = number.name + (f"; {group.group}" if number.groups and group.group else "")
            numbers[name] = (group, number.criterion)
    return numbers


def _number(name: str, a: tuple[Result, str] | None, b: tuple[Result, str] | None) -> dict[str, str]:
    how = ONE_SIDED if a is None or b is None else moved(a[0], b[0])
    if a and b and a[1] != b[1]:
        name += f" (criterion {a[1]}, then {b[1]})"
    shown = [html.measured(side[0]) if side else "not there" for side in (a, b)]
    return {"name": name, "a": shown[0], "b": shown[1], "how": how}


def summed_up(claims: Sequence[Mapping[str, Any]], left: Reports, right: Reports) -> str:
    """One sentence: how many verdicts moved, how many numbers and how, what is in one of the two only."""
    how = Counter(number["how"] for claim in claims for number in claim["numbers"])
    moved_ = sum(claim["moved"] for claim in claims)
    numbers = ", ".join(f"{how[word]} {word}" for word in HOW if how[word])
    alone = [f"{name} only in {side}" for side, some, other in (("A", left, right), ("B", right, left))
             for name in some if name not in other]  # fmt: skip
    return f"{moved_} of {len(claims)} verdicts moved; numbers: {numbers or 'none'}" + "".join(f"; {x}" for x in alone)


def table_of(claims: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per verdict that moved and per number that moved beyond noise."""
    lines = []
    for claim in claims:
        if claim["moved"]:
            lines.append(f"{claim['id']:<8} {claim['a'] or 'not there'} → {claim['b'] or 'not there'}")
        for number in claim["numbers"]:
            if number["how"] == BEYOND:
                lines.append(f"{claim['id']:<8} {number['a']} → {number['b']}  {BEYOND}: {number['name']}")
    return "\n".join(lines) or "nothing moved beyond noise"
