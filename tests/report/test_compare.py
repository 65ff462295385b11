"""The comparison of two results, and the index of all reports."""

import pytest

from src.claims import schema
from src.claims.results import ClaimResult, NumberResult
from src.config.papers import heading
from src.report import __main__ as command
from src.report import compare, index_page, paper_page
from src.results import store


def part(estimate, low=None, high=None):
    described = {"name": "radius", "statistic": "median", "quantity": "z_r50", "criterion": "≤ 1", "experiment": "x"}
    described |= {"companion": "", "rows": "final", "verdict": "reproduced"}
    return NumberResult(estimate=estimate, low=low, high=high, n=3, converged=1.0, **described)


def claim(name, verdict, *parts, cells=()):
    described = dict.fromkeys(("formula", "source", "published"), "") | {"statement": f"What {name} states."}
    deciding = {key: getattr(parts[0], key) for key in ClaimResult.DECIDING}
    described |= {"id": name, "paper": 1, "experiment": "x", "check": False, "cells": cells, "reports": ()}
    return ClaimResult(verdict=verdict, parts=parts, **described, **deciding)


@pytest.fixture
def pair(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    here = [claim("C1", "reproduced", part(0.5, 0.4, 0.6)), claim("C2", "reproduced", part(0.5, 0.4, 0.6))]
    other = [claim("C1", "reproduced", part(0.55, 0.5, 0.7)), claim("C2", "contradicted", part(2.0, 1.5, 2.5))]
    for outputs, judged in ((a, here), (b, [*other, claim("C3", "inconclusive", part(None))])):
        (outputs / "reports" / "paper1").mkdir(parents=True)
        store.write_json(outputs / "reports" / "paper1" / "claims.json", paper_page.plain(judged))
    return a, b


def test_what_moved_is_shown_and_what_is_noise_is_not(pair):
    a, b = pair
    text = compare.write(f"{a},{b}")
    assert "C2       reproduced → contradicted" in text
    assert "C2       0.5 [0.4, 0.6] → 2 [1.5, 2.5]  beyond noise: radius" in text
    assert "C1 " not in text
    assert "C3       missing → inconclusive" in text
    assert "2 of 3 verdicts moved; numbers: 1 beyond noise, 1 within noise, 1 on one side only" in text
    page = next((b / "reports").glob("compared-*.html")).read_text()
    assert all(word in page for word in ("What C1 states.", "0.55 [0.5, 0.7]", "within noise", str(a)))


def test_the_cpus_and_their_kernels_are_shown(pair):
    a, b = pair
    for outputs, dispatch in ((a, "AVX2"), (b, "AVX512")):
        facts = {"cpu": "some CPU", "dispatch": dispatch, "python": "3.11"}
        store.write_json(outputs / "reports" / "paper1" / "provenance.json", facts)
    text = compare.write(f"{a},{b}")
    assert "cpu: some CPU\n" in text and "dispatch: AVX2 → AVX512" in text and "python" not in text
    assert "AVX512" in next((b / "reports").glob("compared-*.html")).read_text()


def test_the_comparison_in_markdown_counts_what_moved_and_names_no_folder(pair):
    facts = {
        "cpu": "some CPU",
        "date": "2026-01-02T03:04 to 2026-01-03T04:05",
        "git sha": "0123456789 (2 cells); 9876543210 (1 cells)",
    }
    store.write_json(pair[0] / "reports" / "paper1" / "provenance.json", facts)
    text = compare.markdown(",".join(map(str, pair)))["paper1"]
    assert text.startswith("A: 2026-01-02 to 2026-01-03 at 0123456, 9876543, some CPU. B: not recorded.")
    assert "| 3 | 2 | 0 | 1 | 1 | 1 |" in text
    assert "| C2 | reproduced: radius, 0.5 [0.4, 0.6] | contradicted: radius, 2 [1.5, 2.5] |" in text
    assert "| C3 | missing | inconclusive: radius, – |" in text
    assert str(pair[0]) not in text


def test_reports_are_taken_as_folders_too(pair, tmp_path):
    a, b = (outputs / "reports" / "paper1" for outputs in pair)
    b = b.rename(b.with_name("paper1-smoke"))
    assert "2 of 3 verdicts moved" in compare.write(f"{a},{b}", tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "numbers, how",
    [
        ((part(1.0), part(1.0)), "same"),
        ((part(1.0), part(1.1)), "moved, noise unknown"),
        ((part(1.0, 0.9, 1.1), part(1.2)), "moved, noise unknown"),
        ((part(1.0, 0.9, 1.1), part(1.1)), "within noise"),
        ((part(1.0, 0.9, 1.1), part(1.11, 1.11, 1.2)), "beyond noise"),
        ((part(None), part(None)), "same"),
        ((part(1.0), part(None)), "on one side only"),
    ],
)
def test_noise_is_what_intervals_have_in_common(numbers, how):
    assert compare.moved(*numbers) == how


@pytest.mark.parametrize("words", ["{a}", "{a},{a}x", "{a},{empty}", "{a},{b},{b}"])
def test_a_mistake_is_one_line(pair, tmp_path, words, capsys):
    (tmp_path / "empty").mkdir()
    given = words.format(a=pair[0], b=pair[1], empty=tmp_path / "empty")
    assert command.main([f"compare={given}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_report_of_another_version_is_one_line(pair, capsys):
    a, b = pair
    store.write_json(b / "reports" / "paper1" / "claims.json", [{"id": "C1", "says": "radius"}])
    assert command.main([f"compare={a},{b}"]) == 2
    assert "was written by another version" in capsys.readouterr().err


def test_the_index_has_every_paper_and_the_newest_report_first(pair):
    outputs = pair[1]
    cell = outputs / "x" / "cell"
    cell.mkdir(parents=True)
    store.write_json(cell / "status.json", {"state": "done", "ended": "2026-05-06T07:08:09.000"})
    store.write_json(cell / "provenance.json", {"date": "2026-05-06T07:00:00", "git": {"sha": "0123456789"}})
    judged = claim("C2", "reproduced", part(0.5, 0.4, 0.6), cells=("x/cell",))
    for newer in ("x", "paper2-tnn_width-tnn_teacher"):
        (outputs / "reports" / newer).mkdir()
        store.write_json(outputs / "reports" / newer / "claims.json", paper_page.plain([judged]))
    text = index_page.write(outputs).read_text()
    for paper in schema.papers():
        assert (f"{paper}. " if isinstance(paper, int) else f"{heading(paper)}: ") in text
    assert "make reproduce-paper3" in text and "make reproduce-paper2" in text, "some experiments are not the paper"
    assert "make reproduce-paper1" not in text
    assert 'href="paper1/report.html#C2"' in text
    newest = text[text.index('id="newest"') :]
    assert newest.index("x/report.html") < newest.index("paper1/report.html")
    assert "2026-05-06 07:08" in newest


def test_an_index_of_nothing_says_how_to_begin(tmp_path):
    assert command.main([f"outputs={tmp_path}"]) == 0
    assert "No report yet" in (tmp_path / "reports" / "index.html").read_text()
