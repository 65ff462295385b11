"""Tables of verdicts, numbers and deviations in Markdown, for README.md and docs/. No torch here."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from src.claims.results import ClaimResult, GroupResult, NumberResult, Result
from src.claims.schema import WORST
from src.errors import ConfigError
from src.report.html import measured, percent
from src.results import store

Record = Mapping[str, Any]


def provenance(outputs: Path, cells: Iterable[str]) -> str:
    """Return one line: the day, commit and profile of the cells ``experiment/cell`` that a page rests on."""
    folders = sorted({outputs / cell for cell in cells})
    if not folders:
        return "No cell has been run."
    if gone := [cell for cell in folders if not store.finished(cell)]:
        raise ConfigError("outputs", gone[0], "is missing, though the report rests on it; run `make report`")
    found = [store.read_json(cell / "provenance.json") for cell in folders]
    profiles = {yaml.safe_load((cell / "config.yaml").read_text(encoding="utf-8"))["profile"] for cell in folders}
    days = sorted({facts["date"][:10] for facts in found})
    commits = Counter(_commit(facts["git"]) for facts in found)
    return (
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} at "
        f"{', '.join(commit for commit, _ in commits.most_common())}; profile {', '.join(sorted(profiles))}, "
        f"{len(folders)} cell{'s' * (len(folders) != 1)}."
    )


def results_page(
    title: str, origin: str, judged: Sequence[ClaimResult], deviations: Iterable[Record], exhibits: Iterable[str] = ()
) -> str:
    """Return the page of a paper's results: exhibits, verdicts, controls, every number, deviations."""
    claims, checks = ([result for result in judged if result.check is check] for check in (False, True))
    tables = {
        "Claims": verdict_table(claims) if claims else "",
        "Checks of the code, not counted": verdict_table(checks) if checks else "",
        "What would contradict each claim": control_table(claims) if claims else "",
        "Every number": number_table(judged) if judged else "",
        "Deviations": deviation_table(deviations) if deviations else "",
    }
    sections = [f"## {name}\n\n{table}" for name, table in tables.items() if table]
    return "\n\n".join([f"# {title}", f"{origin} {chance(judged)}".strip(), *exhibits, *sections]) + "\n"


def verdict_table(judged: Iterable[ClaimResult]) -> str:
    """Return one row per claim: the number that decides it, and the reason for a verdict that is not reproduced."""
    rows = [
        (
            result.id,
            escaped(result.statement) + (f" ({escaped(result.reason)})" if result.reason else ""),
            f"{escaped(result.name)}: {measured(result)}",
            escaped(result.criterion),
            _networks(result),
            result.verdict if result.check else f"**{result.verdict}**",
        )
        for result in judged
    ]
    return table_of(("claim", "statement", "measured [95 %]", "criterion", "networks, converged", "verdict"), rows)


def number_table(judged: Iterable[ClaimResult]) -> str:
    """Return one row per number of a claim: of its worst group if it is judged in groups, of every group otherwise."""
    rows = []
    for result in judged:
        shown: list[tuple[NumberResult, GroupResult, str]] = [(part, part, "worst: ") for part in result.parts]
        shown += [(number, group, "") for number in result.reports for group in number.groups or [number]]
        for number, group, worst in shown:
            name = number.name + (f"; {worst}{group.group}" if group.group else "")
            outcome = (measured(group), escaped(number.criterion), _networks(group), group.verdict)
            rows.append((result.id, escaped(name), *outcome))
    return table_of(("claim", "number", "measured [95 %]", "criterion", "networks, converged", "verdict"), rows)


def control_table(judged: Iterable[ClaimResult]) -> str:
    """Return one row per claim: which result would contradict it, and its control."""
    rows = [(result.id, escaped(result.fails_if or "–"), escaped(result.control or "–")) for result in judged]
    return table_of(("claim", "fails if", "control"), rows)


def chance(judged: Iterable[ClaimResult]) -> str:
    """Return one sentence: how many judged intervals there are, and how many of them miss the truth by chance."""
    groups = [group for result in judged for part in result.parts for group in part.groups or [part]]
    intervals = sum(group.statistic not in WORST and group.low != group.high for group in groups)
    missed = round(0.05 * intervals)
    sentence = f"{intervals} judged numbers have a 95 % interval; about {missed} of them miss the truth by chance."
    return sentence if intervals else ""


def deviation_table(deviations: Iterable[Record]) -> str:
    """Return one row per deviation: both sides with the overrides that select them, and the measured effect."""
    rows = [
        (
            f"{entry['id']}: {escaped(entry['subject'])}",
            *(f"{escaped(entry[side])}<br>`{entry['switch'][side]}`" for side in ("paper", "code")),
            _effect(entry),
            escaped(entry["note"]),
        )
        for entry in deviations
    ]
    return table_of(("deviation", "paper", "otherwise", "effect [95 %]", "note"), rows)


def _effect(entry: Record) -> str:
    if entry["effect"] is None:
        return "not measured"
    effect = NumberResult(**entry["effect"])
    reason = f" ({escaped(effect.reason)})" if effect.reason else ""
    return f"{escaped(effect.name)}: {measured(effect)}{reason}"


def _networks(result: Result) -> str:
    return f"{result.n}, {percent(result.converged)}"


def _commit(git: Record | None) -> str:
    if not git or not git["sha"]:
        return "no commit"
    return f"`{git['sha'][:7]}`" + (" with uncommitted changes" if git["dirty"] else "")


def escaped(text: str) -> str:
    """Escape what Markdown would interpret in a cell of a table."""
    return re.sub(r"([|*<])", r"\\\1", text)


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_table(path: Path) -> str:
    """Return a CSV file as a Markdown table; numbers with three digits."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return table_of(header, [[_rounded(cell) for cell in row] for row in rows])


def _rounded(cell: str) -> str:
    try:
        return f"{float(cell):.3g}" if "." in cell else cell
    except ValueError:
        return cell
