"""Write one page of results from the report of a folder of outputs: docs/results/NAME.md with its figures.

    python scripts/results_page.py NAME paper=3 profile=paper outputs=FOLDER [figures=F1,F2] [tables=T4]

The page has the day, commit, profile and number of the cells, every number of the report's claims, and the figures and
tables that are named. It is generated whole: the same report gives the same page. Exit code 2: the report, or a figure
or table of it, is missing; then nothing is written.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import cli
from src.claims.results import Verdict
from src.config.papers import file_name, from_name
from src.errors import ConfigError
from src.report import paper_page
from src.report.markdown import number_table, provenance, table_of, verdict_table

COMMAND = cli.Command(
    "python scripts/results_page.py",
    "Write one page of results, docs/results/NAME.md, from the report of a folder of outputs.",
    keys={
        "paper": cli.Key("3", "PAPER", "the paper whose report is shown"),
        "profile": cli.Key("default", "NAME", "the profile of the report"),
        "outputs": cli.OUTPUTS,
        "figures": cli.Key("", "F1,F2", "figures to show"),
        "tables": cli.Key("", "T4", "tables to show"),
    },
    words=("NAME", "name of the page"),
    examples=["python scripts/results_page.py paper3_n2048 profile=paper outputs=elsewhere figures=F1 tables=T4"],
)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: _write(arguments, root))


def _write(arguments: Sequence[str], root: Path) -> int:
    given = COMMAND.read(arguments)
    if len(given.words) != 1 or not given.words[0].isidentifier():
        raise ConfigError("NAME", " ".join(given.words) or "?", "must be one name of letters, digits and _")
    (name,) = given.words
    outputs = root / given.outputs
    report = paper_page.folder_of(outputs, file_name(from_name(given.paper)), given.profile)
    if not (report / "claims.json").exists():
        raise ConfigError("report", report, "is missing; `python -m src.report` builds it")
    figures, tables = (list(filter(None, entry.split(","))) for entry in (given.figures, given.tables))
    paths = [report / "figures" / f"{figure}.png" for figure in figures]
    paths += [report / "tables" / f"{table}.csv" for table in tables]
    if missing := [path for path in paths if not path.exists()]:
        raise ConfigError(missing[0].parent.name, missing[0].stem, "is not in the report")
    judged = [result for result in paper_page.read_claims(report / "claims.json") if result.verdict != Verdict.NOT_RUN]
    folder = root / "docs" / "results"
    parts = [f"# {name.replace('_', ' ')}", provenance(outputs, judged)]
    parts += [f"![{figure}]({name}/{figure}.png)" for figure in figures]
    parts += [_markdown(report / "tables" / f"{table}.csv") for table in tables]
    parts += ["## Claims", verdict_table(judged), "Every number:", number_table(judged)]
    (folder / name).mkdir(parents=True, exist_ok=True)
    for figure in figures:
        (folder / name / f"{figure}.png").write_bytes((report / "figures" / f"{figure}.png").read_bytes())
    (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(folder / f"{name}.md")
    return 0


def _markdown(path: Path) -> str:
    """Return a CSV file as a table; numbers with three digits."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return table_of(header, [[_rounded(cell) for cell in row] for row in rows])


def _rounded(cell: str) -> str:
    try:
        return f"{float(cell):.3g}" if "." in cell else cell
    except ValueError:
        return cell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
