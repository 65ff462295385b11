"""Compare two results: changed verdicts, and numbers that moved by more than noise. No torch here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from src import cli
from src.claims.results import ClaimResult, Result
from src.errors import ConfigError, nearest, reason
from src.report import html, paper_page
from src.report.markdown import escaped
from src.report.markdown import table_of as table
from src.results import store

BEYOND, WITHIN, SAME = "beyond noise", "within noise", "same"
UNKNOWN, ONE_SIDED = "moved, noise unknown", "on one side only"
HOW = (BEYOND, UNKNOWN, WITHIN, SAME, ONE_SIDED)
Reports = dict[str, list[ClaimResult]]
"""Name of a report → the results of its claims."""


def write(pair: str, page: Path | None = None) -> str:
    """Compare ``A,B``, two folders of outputs or of one report each; write a page and return the changes as text.

    Raises:
        ConfigError: unless these are two folders with results and a report in common.
    """
    names, left, right = _read(pair)
    claims = compare(left, right)
    summary = summarize(claims, left, right)
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


def _read(pair: str) -> tuple[list[str], Reports, Reports]:
    """Return the names of the two folders of ``A,B`` and the reports in each."""
    names = [name.strip() and str(cli.path(name.strip(), "compare")) for name in pair.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigError("compare", pair, "must be two folders, A,B")
    left, right = (reports_in(Path(name)) for name in names)
    if len(left) == len(right) == 1:  # two single reports are compared whatever their names
        right = dict(zip(left, right.values(), strict=True))
    if not left.keys() & right.keys():
        raise ConfigError("compare", pair, f"no report in common: {', '.join(left)} in A, {', '.join(right)} in B")
    return names, left, right


def markdown(pair: str) -> dict[str, str]:
    """Return the comparison of ``A,B`` as Markdown, by report: counts, and the verdicts that differ with their numbers.

    Raises:
        ConfigError: unless these are two folders with results and a report in common.
    """
    names, left, right = _read(pair)
    header = ("claims and checks", "verdicts that differ", "numbers that are equal", "moved within noise",
              "moved beyond noise", "moved, noise unknown")  # fmt: skip
    claims, texts = compare(left, right), {}
    for report in dict.fromkeys(claim["report"] for claim in claims):
        own = [claim for claim in claims if claim["report"] == report]
        how = Counter(number["how"] for claim in own for number in claim["numbers"])
        numbers = (how[SAME], how[WITHIN], how[BEYOND], how[UNKNOWN] + how[ONE_SIDED])
        counts = tuple(map(str, (len(own), sum(claim["moved"] for claim in own), *numbers)))
        in_both = [{result.id: result for result in reports[report]} for reports in (left, right)]
        differing = [(claim["id"], *(_verdict(results.get(claim["id"])) for results in in_both))
                     for claim in own if claim["moved"]]  # fmt: skip
        a, b = (_measured(Path(name), report) for name in names)
        tables = [table(header, [counts]), *([table(("claim", "A", "B"), differing)] if differing else [])]
        texts[report] = "\n\n".join([f"A: {a}. B: {b}.", *tables]) + "\n"
    return texts


def _verdict(result: ClaimResult | None) -> str:
    return f"{result.verdict}: {escaped(f'{result.name}, {html.measured(result)}')}" if result else "missing"


def reports_in(folder: Path) -> Reports:
    """Return the reports of a folder of outputs, or the report whose folder it is.

    Raises:
        ConfigError: if it is neither.
    """
    if not folder.is_dir():
        known = [str(path) for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise ConfigError("compare", folder, f"no such folder{nearest(str(folder), known)}")
    if (folder / "claims.json").exists():
        return {folder.name: paper_page.read_claims(folder / "claims.json")}
    files = sorted(folder.glob("reports/*/claims.json"))
    reports = {file.parent.name: paper_page.read_claims(file) for file in files}
    if not reports:
        raise ConfigError("compare", folder, "contains no report: neither claims.json nor reports/*/claims.json")
    return reports


def computed_on(folder: Path, report: str = "*") -> dict[str, str]:
    """Return the CPUs and the kernels of PyTorch and its libraries with which the reports were computed."""
    return {fact: "; ".join(values) for fact in ("cpu", "dispatch") if (values := _provenance(folder, fact, report))}


def _measured(folder: Path, report: str) -> str:
    """Return when, at which commits, on which CPUs and with which kernels a report was computed."""
    days = [day[:10] for dates in _provenance(folder, "date", report) for day in dates.split(" to ")]
    commits = [commit[:7] for commits in _provenance(folder, "git sha", report) for commit in commits.split("; ")]
    when = (
        f"{' to '.join(dict.fromkeys((min(days), max(days))))} at {', '.join(dict.fromkeys(commits))}" if days else ""
    )
    return ", ".join(filter(None, [when, *computed_on(folder, report).values()])) or "not recorded"


def _provenance(folder: Path, fact: str, report: str) -> list[str]:
    """Return the different values of a fact in the provenance of the report, or of the folder's reports."""
    files = [folder / "provenance.json", *sorted(folder.glob(f"reports/{report}/provenance.json"))]
    return sorted({facts[fact] for facts in filter(None, map(store.read_json, files)) if fact in facts})


def compare(left: Reports, right: Reports) -> list[html.Entry]:
    """Return every claim of the common reports: ``{report, id, statement, a, b, moved, numbers}``.

    ``a`` and ``b`` are its verdicts, None if missing. ``numbers`` has ``{name, a, b, how}`` for every group of its
    numbers, with ``how`` one of the constants above.
    """
    rows = []
    for name in left:
        if name not in right:
            continue
        in_a, in_b = ({result.id: result for result in reports[name]} for reports in (left, right))
        for claim in dict.fromkeys([*in_a, *in_b]):
            a, b = in_a.get(claim), in_b.get(claim)
            first, second = ({} if result is None else _numbers(result) for result in (a, b))
            numbers = [_number(key, first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])]
            verdicts = [result and result.verdict for result in (a, b)]
            rows.append({
                "report": name,
                "id": claim,
                "statement": (in_b | in_a)[claim].statement,
                "a": verdicts[0],
                "b": verdicts[1],
                "moved": verdicts[0] != verdicts[1],
                "numbers": numbers,
            })  # fmt: skip
    return rows


def moved(a: Result, b: Result) -> str:
    """Return how a number moved: beyond noise if the intervals (for worst-case values, the ranges) do not overlap.

    If one has no interval (e.g. for one seed), the noise is unknown, unless its estimate is in the other's interval.

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
    shown = [html.measured(side[0]) if side else "missing" for side in (a, b)]
    return {"name": name, "a": shown[0], "b": shown[1], "how": how}


def summarize(claims: Sequence[html.Entry], left: Reports, right: Reports) -> str:
    """Return one sentence: how many verdicts and numbers moved, and which reports only one side has."""
    how = Counter(number["how"] for claim in claims for number in claim["numbers"])
    verdicts = sum(claim["moved"] for claim in claims)
    numbers = ", ".join(f"{how[word]} {word}" for word in HOW if how[word])
    alone = [f"{name} only in {side}" for side, reports, others in (("A", left, right), ("B", right, left))
             for name in reports if name not in others]  # fmt: skip
    return "; ".join([f"{verdicts} of {len(claims)} verdicts moved", f"numbers: {numbers or 'none'}", *alone])


def table_of(claims: Sequence[html.Entry]) -> str:
    """Return a line per verdict that moved and per number that moved beyond noise."""
    lines = []
    for claim in claims:
        if claim["moved"]:
            lines.append(f"{claim['id']:<8} {claim['a'] or 'missing'} → {claim['b'] or 'missing'}")
        for number in claim["numbers"]:
            if number["how"] == BEYOND:
                lines.append(f"{claim['id']:<8} {number['a']} → {number['b']}  {BEYOND}: {number['name']}")
    return "\n".join(lines) or "no verdict changed, and no number moved beyond noise"
