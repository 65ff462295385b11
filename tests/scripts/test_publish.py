import json
import re
import shutil
from pathlib import Path

import pytest

from scripts import publish, results_page
from src.claims import deviations, verdicts
from src.report import paper_page
from src.results import store
from tests import fabricated

ROOT = Path(__file__).parents[2]
README = "# Suite\n\n<!-- results:paper1 -->\nold\n<!-- /results -->\n\nafter\n"
PAGE = README + "![radii](figures/paper1/F1.png)\n<!-- deviations:paper1 -->\n<!-- /deviations -->\nend\n"


@pytest.fixture
def root(tmp_path):
    """Return a repository with texts and the report of one experiment."""
    name = "cluster_trainers"
    grid = dict(fabricated.SMALL)[name]
    cells = fabricated.sweep(tmp_path / "outputs", name, grid)
    frames = fabricated.frames({name: cells})
    report = tmp_path / "outputs" / "reports" / "paper1"
    (report / "figures").mkdir(parents=True)
    (report / "figures" / "F1.png").write_bytes(b"picture")
    store.write_json(report / "claims.json", paper_page.plain(verdicts.judge(verdicts.load(1), frames)))
    store.write_json(report / "deviations.json", paper_page.plain(deviations.measure(deviations.load(1), frames)))
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "paper1.md").write_text(PAGE)
    return tmp_path


def texts(root):
    return {path: path.read_bytes() for path in [root / "README.md", *sorted((root / "docs").rglob("*.*"))]}


def rows(text):
    """Return the first table of a text: first cell → cells."""
    lines = [line for line in text.splitlines() if line.startswith("| P1-")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return {cell[0].strip(): [c.strip() for c in cell] for cell in reversed(cells)}


def change(root, claim, **entries):
    path = root / "outputs" / "reports" / "paper1" / "claims.json"
    judged = json.loads(path.read_text())
    next(record for record in judged if record["id"] == claim).update(entries)
    store.write_json(path, judged)


def test_the_texts_hold_the_numbers_of_the_report_and_nothing_else_changes(root):
    change(root, "P1-C16", estimate=0.5, low=0.25, high=0.75, verdict="contradicted")
    assert publish.main([], root) == 0
    readme, page = ((root / name).read_text() for name in ("README.md", "docs/paper1.md"))
    table = rows(readme)
    assert sorted(table) == sorted(claim.id for claim in verdicts.load(1))
    assert table["P1-C16"][2].endswith("0.5 [0.25, 0.75]")
    assert table["P1-C16"][-1] == "**contradicted**"
    assert "cluster_literal has no finished cell" in table["P1-C1"][1]
    assert table["P1-C1"][-1] == "**not run**"
    assert "2026-01-01 to 2026-01-03 at `0123abc`; profile default, 3 cells." in readme
    assert readme.startswith(README[: README.index("old")])
    assert readme.endswith("<!-- /results -->\n\nafter\n")
    assert "\nold\n" not in readme
    assert "P1-L5" in page[page.index("<!-- deviations:paper1 -->") : page.index("<!-- /deviations -->")]
    assert (root / "docs/figures/paper1/F1.png").read_bytes() == b"picture"


def test_the_page_says_what_would_contradict_each_claim_and_how_many_intervals_miss_by_chance(root):
    change(root, "P1-C16", fails_if="two trainers differ", control="a fixed step")
    assert publish.main([], root) == 0
    page = (root / "docs/paper1.md").read_text()
    assert "| P1-C16 | two trainers differ | a fixed step |" in page
    judged = paper_page.read_claims(root / "outputs/reports/paper1/claims.json")
    (trainers,) = [result for result in judged if result.id == "P1-C16"]
    groups = [group for part in trainers.parts for group in part.groups or [part]]
    count = sum(group.low is not None and group.low < group.high for group in groups)
    assert count > 0 and f"{count} judged numbers have a 95 % interval; about {count / 20:.0f} of them" in page


def test_every_row_has_as_many_cells_as_its_header(root):
    publish.main([], root)
    for table in re.findall(r"(?:^\|.*\n)+", (root / "docs/paper1.md").read_text(), re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_same_report_gives_the_same_texts(root, capsys):
    publish.main([], root)
    before = texts(root)
    assert "3 of 3 files changed" in capsys.readouterr().out
    assert publish.main(["1"], root) == 0
    assert "0 of 3 files changed" in capsys.readouterr().out
    assert texts(root) == before


def test_papers_share_the_readme(root):
    two = README.replace("paper1", "paper2")
    (root / "README.md").write_text(README + two)
    (root / "docs/paper2.md").write_text(two + "<!-- deviations:paper2 -->\n<!-- /deviations -->\n")
    (root / "outputs/reports/paper2").mkdir()
    store.write_json(root / "outputs/reports/paper2/claims.json", [])
    assert publish.main([], root) == 0
    readme = (root / "README.md").read_text()
    assert readme.index("P1-C16") < readme.index("results:paper2") < readme.index("No cell has been run.")


def test_a_paper_without_a_report_is_left_as_it_is_unless_it_is_asked_for(root, capsys):
    (root / "docs/paper2.md").write_text("none")
    assert publish.main([], root) == 0
    assert publish.main(["2"], root) == 2
    assert "make reproduce-paper2" in capsys.readouterr().err
    assert (root / "docs/paper2.md").read_text() == "none"


@pytest.mark.parametrize(
    ("broken", "arguments", "says"),
    [
        (lambda root: (root / "outputs/reports/paper1/claims.json").unlink(), [], "make reproduce-paper1"),
        (lambda root: (root / "README.md").write_text("none"), [], "README.md: needs the lines <!-- results:"),
        (lambda root: (root / "README.md").write_text(README + README), [], "and <!-- /results -->, once"),
        (lambda root: (root / "docs/paper1.md").write_text(README), [], "needs the lines <!-- deviations:paper1 -->"),
        (lambda root: (root / "outputs/reports/paper1/figures/F1.png").unlink(), [], "F1.png: is shown by paper1.md"),
        (lambda root: (root / "outputs/reports/paper1/claims.json").write_text("{"), [], "is damaged"),
        (lambda root: None, ["4"], "paper=4: has no page; papers that have: 1"),
        (lambda root: None, ["outputs=nowhere"], "is missing"),
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


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("paper*.md")), ids=lambda page: page.stem)
def test_the_repositorys_own_texts_have_their_markers(page):
    for path, kinds in ((ROOT / "README.md", ["results"]), (page, ["results", "deviations"])):
        for kind in kinds:
            assert publish.fill(path.read_text(encoding="utf-8"), kind, page.stem, "", path.name)


def test_closed_forms_the_code_refers_to_are_derived_on_the_page():
    page = (ROOT / "docs/paper1.md").read_text(encoding="utf-8")
    derived = set(re.findall(r"^\*\*(O\d),", page, re.MULTILINE))
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "conf").rglob("*1.yaml")]
    named = {name for file in sources for name in re.findall(r"\bO[1-9]\b", file.read_text(encoding="utf-8"))}
    assert named
    assert named <= derived


def test_the_overview_counts_the_verdicts_of_every_paper_in_the_text(root):
    section = "### 1. One theorem\n\ntext\n\n" + README.removeprefix("# Suite\n\n")
    other = "### 2. Another: theorem\n" + "<!-- results:paper2 -->\n| P2 | **not run** |\n<!-- /results -->\n"
    (root / "README.md").write_text(f"# Suite\n<!-- overview -->\nold\n<!-- /overview -->\n{section}{other}")
    assert publish.main([], root) == 0
    overview = (root / "README.md").read_text().split("<!-- /overview -->")[0]
    judged = paper_page.read_claims(root / "outputs/reports/paper1/claims.json")
    counts = [result.verdict for result in judged if not result.check]
    (first,) = [line for line in overview.splitlines() if line.startswith("| [1. One theorem](#1-one-theorem)")]
    shown = [cell.strip() for cell in first.split("|")[2:-1]]
    expected = [len(counts), *(counts.count(verdict) or "–" for verdict in publish.OF_CLAIMS)]
    assert shown == [str(count) for count in expected]
    assert "| [2. Another: theorem](#2-another-theorem) | 1 | – | – | – | 1 |" in overview
    assert "old" not in overview


def test_checks_of_the_code_have_a_table_of_their_own_and_are_not_counted(root):
    change(root, "P1-C16", check=True, verdict="passed")
    change(root, "P1-C15", check=True)
    (root / "README.md").write_text(f"<!-- overview -->\n<!-- /overview -->\n### 1. One theorem\n{README}")
    assert publish.main([], root) == 0
    overview, text = (root / "README.md").read_text().split("<!-- /overview -->")
    count = sum(not claim.check and claim.id not in ("P1-C15", "P1-C16") for claim in verdicts.load(1))
    assert f"| [1. One theorem](#1-one-theorem) | {count} | – | – | – | {count} |" in overview
    assert text.index("| P1-C14 |") < text.index("Checks of the code, not counted:") < text.index("| P1-C16 |")


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


def test_a_page_of_results_is_generated_whole(root):
    """Claims that were not run are left out; figures and tables are those that are named."""
    report = root / "outputs" / "reports" / "paper1"
    (report / "tables").mkdir()
    (report / "tables" / "T4.csv").write_text("norm,ours / published,reading\nmsp,0.98765,agrees\n")
    words = ["small", "paper=1", "figures=F1", "tables=T4"]
    assert results_page.main(words, root) == 0
    text = (root / "docs/results/small.md").read_text()
    assert "2026-01-01 to 2026-01-03 at `0123abc`; profile default, 3 cells." in text
    assert "| msp | 0.988 | agrees |" in text
    assert set(rows(text)) == {"P1-C16"}
    assert (root / "docs/results/small/F1.png").read_bytes() == b"picture"
    before = text
    assert results_page.main(words, root) == 0
    assert (root / "docs/results/small.md").read_text() == before


@pytest.mark.parametrize("wrong", ["figures=F9", "tables=T9", "paper=2", "outputs=elsewhere"])
def test_a_page_without_its_parts_is_not_written(root, wrong, capsys):
    assert results_page.main(["small", "paper=1", wrong], root) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (root / "docs/results").exists()
