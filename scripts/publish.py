"""Write the results of papers into docs/results/, and the counts of their verdicts into README.md.

    python scripts/publish.py [PAPER …] [outputs=outputs]
    python scripts/publish.py 3 name=paper3_n2048 report=outputs/reports/NAME figures=F1,F2 tables=T4

- ``docs/results/PAPER.md``, whole: verdicts, checks, what would contradict each claim, every number, deviations.
- ``docs/results/overview.json``: how many claims of each paper have which verdict; README.md shows it between
  ``<!-- overview -->`` and ``<!-- /overview -->``.
- ``docs/figures/PAPER/``: the figures that README.md and docs/PAPER.md show, and those that are named.
- ``docs/results/other_kernels.md``, between ``<!-- REPORT -->`` and ``<!-- /REPORT -->``: the comparison of each report
  that two folders of outputs have in common; only with ``compare=A,B``, which writes nothing else.
- ``docs/scaling.md``, between ``<!-- benchmarks -->`` and ``<!-- /benchmarks -->``: the last ratios of ``make bench``.

``name=NAME`` writes one page of another report, docs/results/NAME.md, and leaves the overview as it is.
Without PAPER, publish every paper with a report. The same report gives the same texts. Exit code 2: a report, figure,
table or marker is missing; then nothing is written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import cli
from src.claims import schema
from src.claims.results import OF_CLAIMS, Verdict
from src.config.papers import Paper, file_name, from_name, heading, in_order
from src.errors import ConfigError
from src.report import compare, paper_page
from src.report.markdown import csv_table, provenance, results_page, table_of
from src.results import store

COMMAND = cli.Command(
    "python scripts/publish.py",
    "Write the results of papers into docs/results/, and the counts of their verdicts into README.md.",
    keys={
        "outputs": cli.OUTPUTS,
        "name": cli.Key("", "NAME", "publish one paper as docs/results/NAME.md, for instance of another size"),
        "report": cli.Key(None, "FOLDER", "the report of that page, outputs/reports/…", cli.path),
        "figures": cli.Key("", "F1,F2", "figures to show on the page of results"),
        "tables": cli.Key("", "T4", "tables to show on the page of results"),
        "compare": cli.Key("", "A,B", "only compare two folders of outputs, in docs/results/other_kernels.md"),
    },
    words=("[PAPER …]", "papers, 1, 2, 3 or bridges; by default, every paper with a report"),
    examples=["python scripts/publish.py", "python scripts/publish.py 1 3 outputs=elsewhere"],
)
OVERVIEW = Path("docs/results/overview.json")
KERNELS = Path("docs/results/other_kernels.md")


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Run the command line on the texts under ``root``; return the exit code."""
    return cli.exit_code(lambda: _publish(COMMAND.read(arguments), root))


def _publish(given: argparse.Namespace, root: Path) -> int:
    known, outputs = schema.papers(), root / given.outputs
    papers = list(map(from_name, given.words))
    if unknown := [paper for paper in papers if paper not in known]:
        raise ConfigError("paper", unknown[0], f"has no claims; papers that have: {', '.join(map(str, known))}")
    if given.name and not (given.name.isidentifier() and len(papers) == 1 and given.report):
        allowed = "must be one name of letters, digits and _, and needs one PAPER and report=FOLDER"
        raise ConfigError("name", given.name, allowed)
    if given.report and not given.name:
        raise ConfigError("report", given.report, "needs the name of its page, name=NAME")
    if given.compare:
        return _write(root, {root / KERNELS: fill(root / KERNELS, compare.markdown(given.compare)).encode()})
    files = {} if given.name else benchmarks(root, outputs)
    reported = [paper for paper in known if _report(outputs, paper).exists()]
    overview = store.read_json(root / OVERVIEW) or {}
    for paper in papers or reported or ([] if files else known):
        pages, overview[file_name(paper)] = published(root, paper, given)
        files |= pages
    if not given.name:
        files[root / OVERVIEW] = (json.dumps(overview, ensure_ascii=False, indent=1) + "\n").encode()
        files[root / "README.md"] = overviewed(root / "README.md", overview).encode()
    return _write(root, files)


def _write(root: Path, files: Mapping[Path, bytes]) -> int:
    changed = [path for path, content in files.items() if not path.exists() or path.read_bytes() != content]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[path])
    print(f"{len(changed)} of {len(files)} files changed", *(path.relative_to(root) for path in changed), sep="\n  ")
    return 0


def benchmarks(root: Path, outputs: Path) -> dict[Path, bytes]:
    """Return docs/scaling.md with the ratios of the benchmarks, and their figure; nothing if none were measured."""
    page, folder = root / "docs/scaling.md", outputs / "benchmarks"
    if not page.exists() or not (folder / "ratios.md").exists():
        return {}
    return {
        page: fill(page, {"benchmarks": (folder / "ratios.md").read_text(encoding="utf-8")}).encode(),
        root / "docs/figures/benchmarks.png": (folder / "ratios.png").read_bytes(),
    }


def published(root: Path, paper: Paper, given: argparse.Namespace) -> tuple[dict[Path, bytes], dict[str, object]]:
    """Return the files that publish a paper, path → content, and its entry in the overview.

    Raises:
        ConfigError: if the report, or a figure or table of it, is missing.
    """
    name = file_name(paper)
    report = root / given.report if given.report else _report(root / given.outputs, paper)
    outputs, page = report.parents[1], given.name or name
    if not (report / "claims.json").exists():
        raise ConfigError("report", report, f"is missing; make reproduce-{name} builds it")
    judged = paper_page.read_claims(report / "claims.json")
    title = (store.read_json(report / "inputs.json") or {}).get("title", heading(paper))
    figures = list(filter(None, given.figures.split(",")))
    shown = {f"{figure}.png" for figure in figures}
    for shows in () if given.name else (root / "README.md", root / "docs" / f"{name}.md"):
        if shows.exists():
            shown |= set(re.findall(rf"figures/{name}/(\w+\.png)", shows.read_text(encoding="utf-8")))
    pictures = {root / "docs/figures" / page / file: report / "figures" / file for file in sorted(shown)}
    tables = {name: report / "tables" / f"{name}.csv" for name in filter(None, given.tables.split(","))}
    if gone := [path for path in [*pictures.values(), *tables.values()] if not path.exists()]:
        raise ConfigError(gone[0].parent.name, gone[0].stem, "is not in the report")
    exhibits = _exhibits(paper, page, report, figures, tables) if given.name else []
    records = [store.read_json(report / "figures" / f"{figure}.json") or {} for figure in figures]
    cells = {cell for result in judged for cell in result.cells}
    cells |= {f"{name}/{cell}" for record in records for name, own in record.get("cells", {}).items() for cell in own}
    text = results_page(
        f"Results: {title}",
        provenance(outputs, cells),
        [result for result in judged if not given.name or result.verdict != Verdict.NOT_RUN],
        store.read_json(report / "deviations.json") or [],
        exhibits,
    )
    files = {root / "docs/results" / f"{page}.md": text.encode()}
    counts = paper_page.counted(judged)
    entry = {"title": title, "verdicts": {verdict: counts[verdict] for verdict in OF_CLAIMS}}
    return files | {target: source.read_bytes() for target, source in pictures.items()}, entry


def _exhibits(
    paper: Paper, page: str, report: Path, figures: Sequence[str], tables: Mapping[str, Path]
) -> Iterator[str]:
    """Yield the commands of the figures, then figures and tables with their captions."""
    captions = {shown.id: f"*{shown.id}: {shown.title}. {shown.caption}*"
                for kind in paper_page.of_paper(paper)[1:] for shown in kind}  # fmt: skip
    commands = [
        (store.read_json(report / "figures" / f"{figure}.json") or {}).get("commands", {}) for figure in figures
    ]
    lines = dict.fromkeys(re.sub(r" outputs=\S+", "", line) for of in commands for line in of.values())
    if lines:
        yield "\n".join(["```sh", *lines, "```"])
    for figure in figures:
        yield f"![{figure}](../figures/{page}/{figure}.png)\n\n{captions.get(figure, figure)}"
    for table, path in tables.items():
        yield f"{captions.get(table, table)}\n\n{csv_table(path)}"


def _report(outputs: Path, paper: Paper) -> Path:
    return paper_page.folder_of(outputs, file_name(paper), "default")


def overviewed(readme: Path, overview: dict) -> str:
    """Return the text of README.md with the counts of verdicts, one row per paper."""
    rows = []
    for paper in in_order(map(from_name, overview)):
        entry, name = overview[file_name(paper)], file_name(paper)
        counts = [entry["verdicts"][verdict] for verdict in OF_CLAIMS]
        title = f"{heading(paper)}: [{entry['title']}](docs/results/{name}.md)"
        rows.append((title, str(sum(counts)), *(str(count or "–") for count in counts)))
    return fill(readme, {"overview": table_of(("paper", "claims", *OF_CLAIMS), rows) + "\n"})


def fill(page: Path, blocks: Mapping[str, str]) -> str:
    """Return the text of ``page`` with every block between the markers of its kind, kind → block.

    Raises:
        ConfigError: if the page does not have these markers once.
    """
    text = page.read_text(encoding="utf-8")
    for kind, block in blocks.items():
        opening, closing = f"<!-- {kind} -->", f"<!-- /{kind} -->"
        before, _, rest = text.partition(opening)
        _, closed, after = rest.partition(closing)
        if text.count(opening) != 1 or not closed:
            raise ConfigError("text", page.name, f"needs the lines {opening} and {closing}, once")
        text = f"{before}{opening}\n{block}{closing}{after}"
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
