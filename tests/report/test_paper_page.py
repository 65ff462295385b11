import itertools
import json
import re
from html.parser import HTMLParser

import pandas
import pytest
import yaml
from markupsafe import escape as escaped

from src.claims import deviations, verdicts
from src.claims.results import Verdict
from src.report import html, index_page, paper_page, terminal
from tests import fabricated


class Page(HTMLParser):
    """Collect the start tags of a page with their attributes, and whether tags are closed in order."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.crossed = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def made(outputs, cells, **columns):
    frames = {name: frame.assign(**columns) for name, frame in fabricated.frames(cells).items()}
    commands = {name: f"python -m src.run +experiment={name} 'seeds=[0,1,2]'" for name in cells}
    judged = verdicts.judge(verdicts.load(1), frames)
    return frames, cells, commands, judged


@pytest.fixture(scope="module")
def built(tmp_path_factory, empty_figures):
    outputs = tmp_path_factory.mktemp("outputs")
    cells = fabricated.paper1(outputs)
    del cells["cluster_noise"]  # F5 cannot be drawn
    given = made(outputs, cells)
    return paper_page.build(1, outputs / "reports", *given).page, given


def test_the_page_has_every_claim_with_its_verdict_formula_and_command(built):
    page, (_, _, commands, judged) = built
    text = page.read_text()
    parsed = Page(text)
    bodies = {attrs["id"]: attrs for attrs in parsed.all("tbody") if "id" in attrs}
    assert list(bodies) == [record.id for record in sorted(judged, key=lambda record: record.check)]
    assert all(bodies[record.id]["data-verdict"] == record.verdict for record in judged)
    for record in judged:
        assert escaped(record.statement) in text
        assert escaped(record.formula) in text
        assert record.criterion in text
        assert all(cell in text for cell in record.cells)
    assert all(escaped(command) in text for command in commands.values())


def test_the_page_asks_for_nothing_and_is_well_formed(built):
    text = built[0].read_text()
    parsed = Page(text)
    assert not parsed.crossed
    assert not parsed.open
    loaded = [attrs.get("src") or attrs.get("href") for tag in ("img", "script", "link") for attrs in parsed.all(tag)]
    assert all(source.startswith("data:image/png;base64,") for source in loaded if source)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


def test_every_image_has_words_and_every_link_on_the_page_a_target(built):
    parsed = Page(built[0].read_text())
    images = parsed.all("img")
    assert len(images) == 9
    assert all(len(image["alt"]) > 40 for image in images)
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"][1:] for attrs in parsed.all("a") if attrs["href"].startswith("#")]
    assert set(targets) <= set(ids)
    beside = [attrs["href"] for attrs in parsed.all("a") if not attrs["href"].startswith("#")]
    assert all((built[0].parent / name).exists() for name in beside)


def test_headings_do_not_skip_a_level(built):
    levels = [int(tag[1]) for tag, _ in Page(built[0].read_text()).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_boxes_that_scroll_can_be_reached_by_keyboard(built):
    boxes = [attrs for attrs in Page(built[0].read_text()).all("div") if attrs.get("class") == "box"]
    assert boxes
    assert all(box["tabindex"] == "0" and ("aria-label" in box or "aria-labelledby" in box) for box in boxes)


def test_a_figure_without_cells_is_noted_and_the_rest_is_there(built):
    page, _ = built
    text, figures = page.read_text(), page.parent / "figures"
    assert "not drawn: cluster_noise has no finished cell" in text
    assert not list(figures.glob("F5*"))
    for suffix in ("png", "pdf", "csv", "json"):
        assert len(list(figures.glob(f"F*.{suffix}"))) == 9


def test_every_figure_has_a_sidecar_with_cells_and_command(built):
    page, (_, cells, commands, _) = built
    sidecar = json.loads((page.parent / "figures" / "F1.json").read_text())
    assert sidecar["cells"] == {"cluster_k_scaling": sorted(cell.name for cell in cells["cluster_k_scaling"])}
    assert sidecar["commands"] == {"cluster_k_scaling": commands["cluster_k_scaling"]}


def test_claims_are_written_as_json_and_csv(built):
    page, (*_, judged) = built
    written = json.loads((page.parent / "claims.json").read_text())
    wanted = {"id", "paper", "statement", "source", "experiment", "criterion", "published", "estimate", "low", "high"}
    assert all(wanted | {"n", "converged", "verdict", "cells"} <= set(record) for record in written)
    assert [record["verdict"] for record in written] == [record.verdict for record in judged]
    table = pandas.read_csv(page.parent / "claims.csv")
    assert table["id"].tolist() == [record.id for record in judged]


def test_provenance_is_on_the_page(built):
    text = built[0].read_text()
    assert all(fact in text for fact in ("0123abcd", "2.13.0", "2026-01-01 to", "float64"))


@pytest.mark.usefixtures("empty_figures")
def test_nothing_is_done_again_until_something_changes(tmp_path):
    cells = {"cluster_attacks": fabricated.sweep(tmp_path, "cluster_attacks", {})}
    frames, cells, commands, judged = made(tmp_path, cells)
    page, changed = paper_page.build(1, tmp_path / "reports", frames, cells, commands, judged)
    assert changed

    def again(**changed):
        page.write_text("as it was")
        given = {"frames": frames, "cells": cells, "commands": commands, "judged": judged} | changed
        built = paper_page.build(1, tmp_path / "reports", **given)
        assert built == (page, page.read_text() != "as it was")
        return built.changed

    assert not again()
    assert again(judged=judged[:-1])
    assert again()
    assert again(commands=commands | {"cluster_attacks": "other"})
    assert again()
    summary = cells["cluster_attacks"][0] / "summary.json"
    summary.write_text(summary.read_text() + " ")
    assert again()
    assert not again()
    (page.parent / "figures" / "F10.pdf").unlink()
    assert again()


def test_a_figure_that_cannot_be_drawn_does_not_take_the_verdicts_with_it(tmp_path):
    cells = {"cluster_k_scaling": fabricated.sweep(tmp_path, "cluster_k_scaling", {"data.k": [2, 4]})}
    page = paper_page.build(1, tmp_path / "reports", *made(tmp_path, cells, data_k="not a number")).page
    assert "F1. Radii" in page.read_text()
    assert "not drawn: " in page.read_text()


def test_an_experiment_alone_and_nothing_at_all_make_a_page(tmp_path):
    cells = {"cluster_width": fabricated.sweep(tmp_path, "cluster_width", {"model.width": [4, 8]})}
    alone = paper_page.build(1, tmp_path / "reports", *made(tmp_path, cells), note_absent=False).page.read_text()
    assert "P1-C10" in alone
    assert [figure["id"] for figure in Page(alone).all("figure")] == ["F3", "F6"]
    empty = paper_page.build(1, tmp_path / "reports", *made(tmp_path, {})).page.read_text()
    assert "not run" in empty
    assert not Page(empty).all("img")


def test_text_from_records_cannot_become_markup(tmp_path, built):
    *_, commands, judged = built[1]
    judged = [judged[0].model_copy(update={"statement": "<script>alert(1)</script>"})]
    assert "<script>alert" not in paper_page.build(1, tmp_path, {}, {}, commands, judged).page.read_text()


@pytest.mark.usefixtures("empty_figures")
def test_deviations_stand_on_the_page_with_both_switches_and_the_effect(tmp_path):
    cells = {"cluster_width": fabricated.sweep(tmp_path, "cluster_width", {"model.width": [4, 8]})}
    frames, cells, commands, judged = made(tmp_path, cells)
    effect = {"experiment": "cluster_width", "name": "radius", "median": "z_r50", "rows": "final and model_width == 8"}
    entry = {"id": "P1-L1", "subject": "width", "paper": "m < ∞", "code": "m = 8", "note": "Wide."}
    entry |= {"switch": {"paper": "model.width=4", "code": "model.width=8"}}
    entries = [entry | {"effect": effect}, entry | {"id": "P1-L2", "effect": None}]
    (tmp_path / "paper1.yaml").write_text(yaml.safe_dump(entries))
    effects = deviations.measure(deviations.load(1, tmp_path), frames)
    page = paper_page.build(1, tmp_path / "with", frames, cells, commands, judged, effects).page
    parsed, text = Page(page.read_text()), page.read_text()
    assert not parsed.crossed
    assert [row["id"] for row in parsed.all("tr") if "id" in row] == ["P1-L1", "P1-L2"]
    assert html.measured(effects[0].effect) in text
    assert all(word in text for word in ("m &lt; ∞", "model.width=4", "model.width=8", "not measured", "Wide."))
    assert json.loads((page.parent / "deviations.json").read_text())[0]["effect"]["n"] == 5
    without = paper_page.build(1, tmp_path / "without", frames, cells, commands, judged).page
    assert "Deviations" not in without.read_text()


def test_the_terminal_table_has_a_line_per_claim_and_reasons(built):
    judged = built[1][3]
    lines = terminal.verdicts(judged).splitlines()
    assert sum(line.startswith(("P1-C", "P1-K")) for line in lines) == len(judged)
    assert f"{sum(not record.check for record in judged)} reproduced" in lines
    failed = judged[0].model_copy(
        update={"verdict": Verdict.INCONCLUSIVE, "reason": "the interval straddles the bound"}
    )
    text = terminal.verdicts([failed, *judged[1:]])
    assert "the interval straddles the bound" in text
    assert "1 inconclusive" in text


def test_an_experiment_without_claims_shows_every_measured_number():
    last = {"step": 9, "member": 0, "seed": 3, "final": True, "converged": True, "matched": 0.1, "own_steps": 9}
    rows = [last | {"test_errors": 2, "margin": 0.5}, last | {"test_errors": 4, "margin": float("nan")}]
    lines = terminal.numbers({"a": [{"final": False, "margin": 7.0}, *rows]}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["test_errors", "3", "2", "to", "4"],
        ["margin", "0.5", "0.5", "to", "0.5"],
    ]


def test_a_check_of_the_code_is_shown_apart_and_not_counted(built, tmp_path):
    *_, commands, judged = built[1]
    plain = [record for record in judged[1:] if not record.check][:2]
    judged = [judged[0].model_copy(update={"check": True, "verdict": Verdict.PASSED}), *plain]
    last = plain[-1].id
    text = terminal.verdicts(judged)
    assert text.index("2 reproduced") < text.index("checks of the code:") < text.index("P1-C1 ")
    page = paper_page.build(1, tmp_path / "reports" / "paper1", {}, {}, commands, judged).page.read_text()
    assert page.index(f'id="{last}"') < page.index('id="checks"') < page.index('id="P1-C1"')
    assert not Page(page).crossed
    front = index_page.write(tmp_path).read_text()
    assert front.index(f'id="{last}"') < front.index('id="checks"') < front.index('id="P1-C1"')
    assert "2 <span" in front and "3 <span" not in front


def test_shares_are_never_rounded_up_to_all():
    assert (paper_page.percent(1.0), paper_page.percent(0.999), paper_page.percent(None)) == ("100 %", "99 %", "–")
