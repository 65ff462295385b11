"""Write the page, figures and tables of one paper, unless its inputs are unchanged. No torch here.

The folder of a report contains ``report.html`` (self-contained), ``claims.json`` and ``claims.csv``,
``deviations.json``, ``tables/`` and ``figures/``. A figure is saved as PNG and PDF, with its data as CSV and a JSON
sidecar of its cells and commands.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas
from pydantic import BaseModel, ValidationError

from src.claims.deviations import MeasuredDeviation
from src.claims.results import ClaimResult
from src.config.papers import Paper, file_name, heading
from src.errors import ConfigError
from src.report import exhibits
from src.report.html import PAGES, Entry, percent, write_page
from src.results import store

if TYPE_CHECKING:
    from src.report.figures.style import Plot, Table

HERE = Path(__file__).resolve().parent
REMOVE = "remove the folder of this report and run its command again"
"""How to repair a damaged file of a report."""
OUTCOME = ["criterion", "estimate", "low", "high", "n", "seeds", "seeds_held", "converged", "verdict", "reason"]
CLAIM_COLUMNS = ["id", "name", "statistic", *OUTCOME, "paper", "statement", "formula", "source", "experiment"]
CLAIM_COLUMNS += ["published", "fails_if", "control", "check"]
NUMBER_COLUMNS = ["id", "name", "group", *OUTCOME, "experiment", "statistic", "quantity", "companion", "rows"]


class Report(NamedTuple):
    """The page of a report, and whether this call wrote it."""

    page: Path
    changed: bool


def build(
    paper: Paper,
    folder: Path,
    frames: Mapping[str, pandas.DataFrame],
    cells: Mapping[str, Sequence[Path]],
    commands: Mapping[str, str],
    judged: Sequence[ClaimResult],
    deviations: Sequence[MeasuredDeviation] = (),
    *,
    note_absent: bool = True,
) -> Report:
    """Write the report of a paper or of some of its experiments, unless it exists and is up to date.

    Figures are kept whose rows and code have not changed.

    Args:
        paper: number or name of the paper.
        folder: folder of the report; what stood in its ``figures`` and ``tables`` before is removed.
        frames: experiment → frame of ``store.frame`` over its ``cells``.
        cells: experiment → folders of its finished cells.
        commands: experiment → the command that runs it.
        judged: from ``verdicts.judge``.
        deviations: from ``deviations.measure``.
        note_absent: note figures and tables without finished cells; otherwise leave them out.
    """
    page, inputs = folder / "report.html", folder / "inputs.json"
    claims = plain(judged)
    digest = _digest(cells, commands, claims, plain(deviations), note_absent)
    if _is_current(folder, inputs, digest):
        return Report(page, changed=False)
    inputs.unlink(missing_ok=True)  # so that an interrupted report is written again
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    store.write_json(folder / "claims.json", claims)
    store.write_json(folder / "deviations.json", plain(deviations))
    pandas.DataFrame(claims, columns=CLAIM_COLUMNS).to_csv(folder / "claims.csv", index=False)
    title, plots, tables = of_paper(paper)
    if not note_absent:
        plots = [plot for plot in plots if exhibits.experiments_with_rows(plot, frames)]
        tables = [table for table in tables if exhibits.experiments_with_rows(table, frames)]
    drawn = [exhibits.draw(plot, frames, cells, commands, folder / "figures") for plot in plots]
    shown = {figure["plot"].id for figure in drawn if not figure["note"]}
    for stale in [*(folder / "tables").iterdir(), *(folder / "figures").iterdir()]:
        if stale.parent.name == "tables" or stale.stem not in shown:
            stale.unlink()
    tabulated = [_claims_table(judged, folder / "tables")]
    tabulated += [exhibits.make(table, frames, folder / "tables") for table in tables]
    facts = _provenance([cell for folders in cells.values() for cell in folders])
    store.write_json(folder / "provenance.json", dict(facts))
    context = {
        "heading": heading(paper),
        "title": title,
        "judged": [result for result in judged if not result.check],
        "checks": [result for result in judged if result.check],
        "verdicts": counted(judged),
        "commands": commands,
        "figures": drawn,
        "tables": tabulated,
        "deviations": deviations,
        "experiments": _experiments(frames, cells, commands),
        "shown_by": lambda result: _shown_by(result, drawn),
        "provenance": facts,
    }
    context["index"] = "../index.html" if folder.parent.name == "reports" else None
    write_page(page, "report", context)
    files = [
        str(file.relative_to(folder)) for file in sorted(folder.rglob("[!.]*")) if file.is_file() and file != inputs
    ]
    store.write_json(inputs, {"paper": paper, "title": title, "digest": digest, "files": files})
    return Report(page, changed=True)


def _is_current(folder: Path, inputs: Path, digest: str) -> bool:
    """Return whether the report of this digest exists with all its files; False if its list of files is damaged."""
    try:
        before = store.read_json(inputs)
        return bool(before) and before["digest"] == digest and all((folder / name).exists() for name in before["files"])
    except (ConfigError, KeyError, TypeError):
        return False


def plain(results: Iterable[BaseModel]) -> list[Entry]:
    """Return results as JSON values."""
    return exhibits.none_for_nonfinite([result.model_dump(mode="json") for result in results])


def read_claims(file: Path) -> list[ClaimResult]:
    """Return the claims of a report from its ``claims.json``; empty without the file.

    Raises:
        ConfigError: if it is damaged, or has the keys of another version of the suite.
    """
    try:
        return [ClaimResult(**claim) for claim in store.read_json(file, repair=REMOVE) or []]
    except (TypeError, ValidationError) as error:
        raise ConfigError("claims", file, f"was written by another version; {REMOVE}") from error


def counted(judged: Iterable[ClaimResult]) -> Counter[str]:
    """Return verdict → number of claims, without checks of the code."""
    return Counter(result.verdict for result in judged if not result.check)


def _digest(cells: Mapping[str, Sequence[Path]], *shown: object) -> str:
    """Return a hash of all inputs of a report: cells, verdicts, code of the report."""
    digest = hashlib.sha256(json.dumps(exhibits.none_for_nonfinite(shown), sort_keys=True, default=str).encode())
    for cell in (cell for name in sorted(cells) for cell in cells[name]):
        for file in ("status.json", "summary.json", "provenance.json", "config.yaml", "metrics.jsonl"):
            digest.update(f"{cell.parent.name}/{cell.name}/{file}".encode())
            digest.update((cell / file).read_bytes() if (cell / file).exists() else b"-")
    code = [*HERE.glob("*.py"), *PAGES.iterdir(), *(HERE / "figures").glob("*.py")]
    for source in sorted(code):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def of_paper(paper: Paper) -> tuple[str, Sequence[Plot], Sequence[Table]]:
    """Return title, plots and tables of the paper's file in ``src/report/figures``, whose import takes a second."""
    name = f"src.report.figures.{file_name(paper)}"
    if importlib.util.find_spec(name) is None:
        return heading(paper), (), ()
    module = importlib.import_module(name)
    return module.TITLE, module.PLOTS, module.TABLES


def folder_of(outputs: Path, title: str, profile: str, mark: str | None = None) -> Path:
    """Return the folder of a report: title, profile unless default, and a hash of other overrides."""
    return outputs / "reports" / "-".join(filter(None, [title, profile if profile != "default" else None, mark]))


def _shown_by(result: ClaimResult, drawn: Sequence[Entry]) -> list[Entry]:
    """Return the figures of the claim's experiments."""
    names = set(result.experiment.split(", "))
    return [figure for figure in drawn if not figure["note"] and names & set(figure["plot"].experiments)]


def _claims_table(judged: Sequence[ClaimResult], folder: Path) -> Entry:
    rows = [
        {"id": result.id, **dict(number), **dict(group)}
        for result in judged
        for number in result.numbers
        for group in (number.groups or [number])
    ]
    caption = (
        "All numbers of the claims, one row per group. Intervals are two-sided, 95 %: cluster bootstrap over seeds, "
        "widened for few seeds; exact intervals for rates, and for fractions of networks, where a seed counts once. "
        "Worst-case values describe the networks that were run; parentheses give the range over seeds. In "
        "the number seeds_held of the seeds they meet the criterion."
    )
    return exhibits.save("T1", "All numbers", caption, pandas.DataFrame(rows, columns=NUMBER_COLUMNS), folder)


def _experiments(
    frames: Mapping[str, pandas.DataFrame], cells: Mapping[str, Sequence[Path]], commands: Mapping[str, str]
) -> list[Entry]:
    rows = []
    for name in sorted({*commands, *frames}):
        frame = frames[name] if name in frames and not frames[name].empty else None
        rows.append({
            "experiment": name,
            "command": commands.get(name, ""),
            "cells": [cell.name for cell in cells.get(name, ())],
            "seeds": sorted({int(seed) for seed in frame["seed"]}) if frame is not None else [],
            "converged": percent(frame.loc[frame["final"], "converged"].mean()) if frame is not None else "–",
        })  # fmt: skip
    return rows


def _provenance(cells: Iterable[Path]) -> list[tuple[str, str]]:
    """Return every recorded fact of the cells: its value, counts of different values, or the range of dates."""
    by_key: dict[str, Counter[str]] = {}
    for cell in cells:
        for key, value in store.flatten(store.read_json(cell / "provenance.json") or {}).items():
            if key not in ("command", "resumed") and not key.startswith("code_"):
                text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                by_key.setdefault(key, Counter())[text] += 1
    facts = []
    for key, values in by_key.items():
        if len(values) == 1:
            text = next(iter(values))
        elif "date" in key:
            text = f"{min(values)} to {max(values)}"
        else:
            text = "; ".join(f"{value} ({count} cells)" for value, count in values.most_common(6))
        facts.append((key.replace("_", " "), text))
    return facts
