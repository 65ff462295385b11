"""Write the results of papers into README.md and docs/PAPER.md, between the markers of these texts.

    python scripts/publish.py [PAPER …] [outputs=outputs]

- ``<!-- results:PAPER -->`` to ``<!-- /results -->``: the verdicts; in docs/PAPER.md also every number of a claim.
- ``<!-- deviations:PAPER -->`` to ``<!-- /deviations -->``: the deviations.
- ``<!-- overview -->`` to ``<!-- /overview -->``: how many claims of each paper have which verdict.
- ``<!-- benchmarks -->`` to ``<!-- /benchmarks -->`` of docs/scaling.md: the last ratios of ``make bench``, if any.

Figures that a text shows are copied to docs/figures/. Without PAPER, publish every paper with a page and a report. The
same report gives the same texts. Exit code 2: a report or a marker is missing; then nothing is written.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import cli
from src.claims import schema
from src.claims.results import OF_CLAIMS
from src.config.papers import Paper, file_name, from_name
from src.errors import ConfigError
from src.report import paper_page
from src.report.markdown import (
    chance,
    control_table,
    deviation_table,
    number_table,
    provenance,
    table_of,
    verdict_table,
)
from src.results import store

COMMAND = cli.Command(
    "python scripts/publish.py",
    "Write the results of papers into README.md and docs/: verdicts, numbers, deviations, figures, benchmarks.",
    keys={"outputs": cli.OUTPUTS},
    words=("[PAPER …]", "papers, 1, 2, 3 or bridges; by default, every paper with a page and a report"),
    examples=["python scripts/publish.py", "python scripts/publish.py 1 3 outputs=elsewhere"],
)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Run the command line on the texts under ``root``; return the exit code."""
    return cli.exit_code(lambda: _publish(arguments, root))


def _publish(arguments: Sequence[str], root: Path) -> int:
    given = COMMAND.read(arguments)
    papers, outputs = list(map(from_name, given.words)), given.outputs
    known = [paper for paper in schema.papers() if (root / "docs" / f"{file_name(paper)}.md").exists()]
    if unknown := [paper for paper in papers if paper not in known]:
        have = ", ".join(map(str, known)) or "none"
        raise ConfigError("paper", unknown[0], f"has no page; papers that have: {have}")
    reported = [paper for paper in known if (root / outputs / "reports" / file_name(paper)).exists()]
    files = benchmarks(root, root / outputs)
    for paper in papers or reported or ([] if files else known):
        files |= published(root, paper, root / outputs, files)
    texts = {path: overviewed(content.decode()) for path, content in files.items() if path.suffix == ".md"}
    files |= {path: text.encode() for path, text in texts.items()}
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
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- benchmarks -->")
    _, _, after = rest.partition("<!-- /benchmarks -->")
    ratios = (folder / "ratios.md").read_text(encoding="utf-8")
    return {
        page: f"{before}<!-- benchmarks -->\n{ratios}<!-- /benchmarks -->{after}".encode(),
        root / "docs/figures/benchmarks.png": (folder / "ratios.png").read_bytes(),
    }


def published(root: Path, paper: Paper, outputs: Path, texts: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """Return the files that publish a paper, path → content. ``texts`` were filled by other papers before.

    Raises:
        ConfigError: if a report, marker or figure is missing.
    """
    name = file_name(paper)
    report = outputs / "reports" / name
    if not (report / "claims.json").exists():
        raise ConfigError("report", report, f"is missing; make reproduce-{name} builds it")
    judged = paper_page.read_claims(report / "claims.json")
    deviations = store.read_json(report / "deviations.json")
    origin = provenance(outputs, judged)
    checks = [result for result in judged if result.check]
    verdicts = f"{origin} {chance(judged)}\n\n{verdict_table([result for result in judged if not result.check])}"
    if checks:
        verdicts += f"\n\nChecks of the code, not counted:\n\n{verdict_table(checks)}"
    blocks = {
        root / "README.md": {"results": verdicts},
        root / "docs" / f"{name}.md": {
            "results": f"{verdicts}\n\nWhat would contradict each claim:\n\n{control_table(judged)}\n\n"
            f"Every number of every claim:\n\n{number_table(judged)}",
            "deviations": deviation_table(deviations or []),
        },
    }
    files = {}
    for path, filled in blocks.items():
        text = texts[path].decode() if path in texts else path.read_text(encoding="utf-8")
        for kind, block in filled.items():
            text = fill(text, kind, name, block, path.name)
        files[path] = text.encode()
        for figure in sorted(set(re.findall(rf"figures/{name}/(\w+\.png)", text))):
            source = report / "figures" / figure
            if not source.exists():
                raise ConfigError("figure", figure, f"is shown by {path.name} and not in the report")
            files[root / "docs" / "figures" / name / figure] = source.read_bytes()
    return files


def fill(text: str, kind: str, paper: str, block: str, page: str) -> str:
    """Return ``text`` with ``block`` between the markers of its kind and paper, in a page of this name.

    Raises:
        ConfigError: if the file does not have these markers once.
    """
    opening, closing = f"<!-- {kind}:{paper} -->", f"<!-- /{kind} -->"
    before, _, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if text.count(opening) != 1 or not closed:
        raise ConfigError("text", page, f"needs the lines {opening} and {closing}, once")
    return f"{before}{opening}\n{block}\n{closing}{after}"


def overviewed(text: str) -> str:
    """Return ``text`` with the counts of its verdicts in its overview, if it has the markers of one."""
    opening, closing = "<!-- overview -->", "<!-- /overview -->"
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        return text
    rows = []
    section = r"^### ([^\n]+)\n(?:(?!^### ).)*?<!-- results:\w+ -->\n(.*?)<!-- /results -->"
    for title, block in re.findall(section, after, re.MULTILINE | re.DOTALL):
        counts = Counter(re.findall(r"\*\*([a-z ]+)\*\* \|$", block, re.MULTILINE))
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        own = [str(counts[word] or "–") for word in OF_CLAIMS]
        rows.append((f"[{title}](#{anchor})", str(sum(counts[word] for word in OF_CLAIMS)), *own))
    return f"{before}{opening}\n{table_of(('paper', 'claims', *OF_CLAIMS), rows)}\n{closing}{after}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
