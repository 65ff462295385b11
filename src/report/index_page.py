"""Write the index of all reports: verdicts by paper, and the newest results. No torch here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from src.claims import schema
from src.config import components
from src.config.papers import Paper, file_name, heading
from src.errors import ConfigError
from src.report import html, paper_page
from src.results import store

T = TypeVar("T")


def write(outputs: Path) -> Path:
    """Write ``<outputs>/reports/index.html`` from the reports beside it; return its path.

    Raises:
        ConfigError: if the folder of outputs does not exist.
    """
    if not outputs.is_dir():
        raise ConfigError("outputs", outputs, "no such folder; a run creates it")
    folder = outputs / "reports"
    folder.mkdir(exist_ok=True)
    reports = _readable(_report, sorted(folder.glob("*/claims.json")))
    reports.sort(key=lambda report: report["newest"], reverse=True)
    papers = _readable(lambda paper: _paper(paper, reports), schema.papers())
    judged = [result for paper in papers if paper["report"] for result in paper["report"]["judged"]]
    verdicts = paper_page.counted(judged)
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = folder / "index.html"
    context = {"papers": papers, "reports": reports, "verdicts": verdicts, "written": written}
    html.write_page(page, "index", context | {"checks": any(result.check for result in judged)})
    return page


def _readable(read: Callable[[T], html.Entry], sources: Iterable[T]) -> list[html.Entry]:
    """Return ``read`` of every source; warn of those that cannot be read and leave them out."""
    entries = []
    for source in sources:
        try:
            entries.append(read(source))
        except ConfigError as error:
            logging.getLogger(__name__).warning("left out of the index: %s", error)
    return entries


def _paper(paper: Paper, reports: list[html.Entry]) -> html.Entry:
    """Return a paper with its report: of profile default, or else the newest; reports on some experiments are none."""
    name = file_name(paper)
    candidates = [report for report in reports if report["name"].partition("-")[0] == name and not _of_some(report)]
    newest = candidates[0] if candidates else None
    chosen = next((report for report in candidates if report["name"] == name), newest)
    title = chosen["title"] if chosen else paper_page.of_paper(paper)[0]
    return {
        "name": name,
        "title": f"{paper}. {title}" if isinstance(paper, int) else f"{heading(paper)}: {title}",
        "claims": sum(not claim.check for claim in schema.load(paper)),
        "report": chosen,
    }


def _of_some(report: html.Entry) -> bool:
    return any((components.CONF / "experiment" / f"{word}.yaml").exists() for word in report["name"].split("-"))


def _report(file: Path) -> html.Entry:
    judged = paper_page.read_claims(file)
    inputs = store.read_json(file.parent / "inputs.json", repair=paper_page.REMOVE) or {}
    outputs = file.parents[2]
    cells = sorted({cell for result in judged for cell in result.cells})
    provenance = [store.read_json(outputs / cell / "provenance.json") or {} for cell in cells]
    ended = [str((store.read_json(outputs / cell / "status.json") or {}).get("ended", "")) for cell in cells]
    days = sorted({facts["date"][:10] for facts in provenance if "date" in facts})
    commits = sorted({facts["git"]["sha"][:7] for facts in provenance if (facts.get("git") or {}).get("sha")})
    when = f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else "No cell has been run"
    at = f" at {', '.join(commits[:3])}" if commits else ""
    return {
        "name": file.parent.name,
        "page": f"{file.parent.name}/report.html",
        "title": inputs.get("title", file.parent.name),
        "judged": judged,
        "verdicts": paper_page.counted(judged),
        "cells": len(cells),
        "measured": f"{when}{at}; {file.parent.name}, {len(cells)} cells.",
        "newest": max(ended, default="")[:16].replace("T", " ") or (days[-1] if days else ""),
    }
