import json
import re
import shutil
from pathlib import Path

import pytest

from scripts import publish
from src.claims import deviations, verdicts
from src.report import paper_page
from src.results import store
from tests import fabricated

ROOT = Path(__file__).parents[2]
README = "# Suite\n\n<!-- overview -->\nold\n<!-- /overview -->\n\nafter\n![radii](docs/figures/paper1/F1.png)\n"
LARGE = ["name=large", "report=outputs/reports/paper1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository with texts and the report of one experiment."""
    tmp_path = tmp_path_factory.mktemp("made")
    name = "cluster_trainers"
    grid = dict(fabricated.SMALL)[name]
    cells = fabricated.sweep(tmp_path / "outputs", name, grid)
    frames = fabricated.frames({name: cells})
    report = tmp_path / "outputs" / "reports" / "paper1"
    (report / "figures").mkdir(parents=True)
    (report / "tables").mkdir()
    (report / "figures" / "F1.png").write_bytes(b"picture")
    (report / "tables" / "T4.csv").write_text("norm,ours / published,reading\nmsp,0.98765,agrees\n")
    store.write_json(report / "claims.json", paper_page.plain(verdicts.judge(verdicts.load(1), frames)))
    store.write_json(report / "deviations.json", paper_page.plain(deviations.measure(deviations.load(1), frames)))
    store.write_json(report / "inputs.json", {"title": "One theorem"})
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.fixture
def root(made, tmp_path):
    """A copy of the repository."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def texts(root):
    return {path: path.read_bytes() for path in [root / "README.md", *sorted((root / "docs").rglob("*.*"))]}


def rows(text):
    """Return the first table of a text: first cell → cells."""
    lines = [line for line in text.splitlines() if line.startswith("| P1-")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return {cell[0].strip(): [c.strip() for c in cell] for cell in reversed(cells) if len(cell) == 6}


def change(root, claim, **entries):
    path = root / "outputs" / "reports" / "paper1" / "claims.json"
    judged = json.loads(path.read_text())
    next(record for record in judged if record["id"] == claim).update(entries)
    store.write_json(path, judged)


def test_the_page_holds_the_numbers_of_the_report_and_the_readme_counts_its_verdicts(root):
    change(root, "P1-C16", estimate=0.5, low=0.25, high=0.75, verdict="contradicted")
    assert publish.main([], root) == 0
    readme, page = ((root / name).read_text() for name in ("README.md", "docs/results/paper1.md"))
    table = rows(page)
    assert sorted(table) == sorted(claim.id for claim in verdicts.load(1))
    assert table["P1-C16"][2].endswith("0.5 [0.25, 0.75]")
    assert table["P1-C16"][-1] == "**contradicted**"
    assert "cluster_literal has no finished cell" in table["P1-C1"][1]
    assert table["P1-C1"][-1] == "**not run**"
    assert page.startswith(
        "# Results: One theorem\n\nMeasured 2026-01-01 to 2026-01-03 at `0123abc`; profile default, 3 cells."
    )
    assert "P1-L5" in page[page.index("## Deviations") :]
    count = sum(not claim.check for claim in verdicts.load(1))
    assert f"| Paper 1: [One theorem](docs/results/paper1.md) | {count} | – | 1 | – | {count - 1} |" in readme
    assert readme.startswith("# Suite\n\n<!-- overview -->\n| paper |")
    assert readme.endswith("<!-- /overview -->\n\nafter\n![radii](docs/figures/paper1/F1.png)\n")
    assert "old" not in readme
    assert (root / "docs/figures/paper1/F1.png").read_bytes() == b"picture"


def test_the_page_says_what_would_contradict_each_claim_and_how_many_intervals_miss_by_chance(root):
    change(root, "P1-C16", fails_if="two trainers differ", control="a fixed step")
    assert publish.main([], root) == 0
    page = (root / "docs/results/paper1.md").read_text()
    assert "| P1-C16 | two trainers differ | a fixed step |" in page
    judged = paper_page.read_claims(root / "outputs/reports/paper1/claims.json")
    (trainers,) = [result for result in judged if result.id == "P1-C16"]
    groups = [group for part in trainers.parts for group in part.groups or [part]]
    count = sum(group.low is not None and group.low < group.high for group in groups)
    assert count > 0 and f"{count} judged numbers have a 95 % interval; about {count / 20:.0f} of them" in page


def test_every_row_has_as_many_cells_as_its_header(root):
    publish.main([], root)
    for table in re.findall(r"(?:^\|.*\n)+", (root / "docs/results/paper1.md").read_text(), re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_same_report_gives_the_same_texts(root, capsys):
    publish.main([], root)
    before = texts(root)
    assert "4 of 4 files changed" in capsys.readouterr().out
    assert publish.main(["1"], root) == 0
    assert "0 of 4 files changed" in capsys.readouterr().out
    assert texts(root) == before


def test_a_paper_that_is_not_published_again_keeps_its_row(root):
    publish.main([], root)
    row = next(line for line in (root / "README.md").read_text().splitlines() if "One theorem" in line)
    (root / "outputs/reports/paper2").mkdir()
    store.write_json(root / "outputs/reports/paper2/claims.json", [])
    assert publish.main(["2"], root) == 0
    readme = (root / "README.md").read_text()
    assert readme.index(row) < readme.index("| Paper 2: [Paper 2](docs/results/paper2.md) | 0 |")
    assert "No cell has been run." in (root / "docs/results/paper2.md").read_text()


@pytest.mark.parametrize(
    ("broken", "arguments", "says"),
    [
        (lambda root: (root / "outputs/reports/paper1/claims.json").unlink(), [], "make reproduce-paper1"),
        (lambda root: (root / "README.md").write_text("none"), [], "README.md: needs the lines <!-- overview -->"),
        (lambda root: (root / "README.md").write_text(README + README), [], "and <!-- /overview -->, once"),
        (
            lambda root: (root / "outputs/reports/paper1/figures/F1.png").unlink(),
            [],
            "figures=F1: is not in the report",
        ),
        (lambda root: (root / "outputs/reports/paper1/claims.json").write_text("{"), [], "is damaged"),
        (lambda root: None, ["99"], "paper=99: has no claims; papers that have: 1, 2, 3, "),
        (lambda root: None, ["2"], "make reproduce-paper2"),
        (lambda root: None, ["outputs=nowhere"], "is missing"),
        (lambda root: None, ["1", *LARGE, "figures=F9"], "figures=F9: is not in the report"),
        (lambda root: None, ["1", *LARGE, "tables=T9"], "tables=T9: is not in the report"),
        (lambda root: None, LARGE, "needs one PAPER"),
        (lambda root: None, ["1", LARGE[0]], "needs one PAPER and report=FOLDER"),
        (lambda root: None, ["1", LARGE[1]], "needs the name of its page"),
    ],
)
def test_what_cannot_be_published_is_one_line_and_nothing_is_written(root, capsys, broken, arguments, says):
    broken(root)
    before = texts(root)
    assert publish.main(arguments, root) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert texts(root) == before


def test_the_repositorys_own_texts_have_their_markers_and_its_pages_of_results_their_texts():
    papers = json.loads((ROOT / publish.OVERVIEW).read_text(encoding="utf-8"))
    for page, kinds in (("README.md", ["overview"]), ("docs/scaling.md", ["benchmarks"]), (publish.KERNELS, papers)):
        assert publish.fill(ROOT / page, dict.fromkeys(kinds, ""))
    for paper in papers:
        assert (ROOT / "docs" / f"{paper}.md").exists() and (ROOT / "docs/results" / f"{paper}.md").exists()


def test_closed_forms_the_code_refers_to_are_derived_on_the_page():
    page = (ROOT / "docs/paper1.md").read_text(encoding="utf-8")
    derived = set(re.findall(r"^\*\*(O\d+),", page, re.MULTILINE))
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "conf").rglob("*1.yaml")]
    named = {name for file in sources for name in re.findall(r"\bO[1-9]\d?\b", file.read_text(encoding="utf-8"))}
    assert named
    assert named <= derived


def test_checks_of_the_code_have_a_table_of_their_own_and_are_not_counted(root):
    change(root, "P1-C16", check=True, verdict="passed")
    assert publish.main([], root) == 0
    count = sum(not claim.check and claim.id != "P1-C16" for claim in verdicts.load(1))
    assert f"(docs/results/paper1.md) | {count} | – | – | – | {count} |" in (root / "README.md").read_text()
    page = (root / "docs/results/paper1.md").read_text()
    assert page.index("| P1-C14 |") < page.index("## Checks of the code, not counted") < page.index("| P1-C16 |")


def test_benchmarks_fill_their_page_and_only_if_there_are_any(root):
    page, folder = root / "docs" / "scaling.md", root / "outputs" / "benchmarks"
    page.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    assert publish.main([], root) == 0
    assert "old" in page.read_text()
    folder.mkdir()
    (folder / "ratios.md").write_text("| new |\n")
    (folder / "ratios.png").write_bytes(b"picture")
    assert publish.main([], root) == 0
    assert page.read_text() == "before\n<!-- benchmarks -->\n| new |\n<!-- /benchmarks -->\nafter\n"
    assert (root / "docs/figures/benchmarks.png").read_bytes() == b"picture"


def test_benchmarks_are_published_without_a_report(root):
    shutil.rmtree(root / "outputs")
    (root / "outputs/benchmarks").mkdir(parents=True)
    (root / "outputs/benchmarks/ratios.md").write_text("| new |\n")
    (root / "outputs/benchmarks/ratios.png").write_bytes(b"picture")
    (root / "docs/scaling.md").write_text("<!-- benchmarks --><!-- /benchmarks -->\n")
    assert publish.main([], root) == 0
    assert "| new |" in (root / "docs/scaling.md").read_text()


def test_a_comparison_fills_the_sections_of_its_reports_and_writes_nothing_else(root):
    page = root / publish.KERNELS
    page.parent.mkdir(parents=True, exist_ok=True)
    kept = "<!-- paper3 -->\nmeasured before\n<!-- /paper3 -->\n"
    page.write_text(f"<!-- paper1 -->\nold\n<!-- /paper1 -->\n{kept}")
    assert publish.main([f"compare={root}/outputs,{root}/outputs"], root) == 0
    assert "| 0 | " in page.read_text() and "old" not in page.read_text() and page.read_text().endswith(kept)
    assert (root / "README.md").read_text() == README
    page.write_text(kept)
    assert publish.main([f"compare={root}/outputs,{root}/outputs"], root) == 2


def test_a_page_of_another_report_leaves_the_overview_as_it_is(root):
    words = ["1", *LARGE, "figures=F1", "tables=T4"]
    assert publish.main(words, root) == 0
    page = (root / "docs/results/large.md").read_text()
    assert "| msp | 0.988 | agrees |" in page and "![F1](../figures/large/F1.png)" in page
    assert (root / "docs/figures/large/F1.png").read_bytes() == b"picture"
    assert (root / "README.md").read_text() == README and not (root / publish.OVERVIEW).exists()
