"""Workspaces as data: every section, axis, key and filter is one that a run really has."""

import json
from pathlib import Path

import pytest
import wandb

from src.claims import schema, verdicts
from src.claims.results import Verdict
from src.config import sweep
from src.dashboards import __main__ as command
from src.dashboards import workspaces
from src.report import paper_page
from src.results import store, wandb_mirror, wandb_run
from tests import fabricated, fake_wandb

CONFIG_KEYS = ("paper", "profile", "name", "label")


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    """Specifications of all papers while nothing has been run."""
    outputs = tmp_path_factory.mktemp("outputs")
    return {paper: workspaces.specification(paper, "smoke", outputs) for paper in schema.papers()}


def panels(spec, kind):
    return [panel for section in spec["sections"] for panel in section["panels"] if panel["kind"] == kind]


def test_sections_are_the_claims_in_their_order(specs):
    for paper, spec in specs.items():
        names = [section["name"].split()[0] for section in spec["sections"]]
        assert names == ["Verdicts", *(claim.id for claim in schema.load(paper))]
        assert all(len(section["panels"]) > 1 for section in spec["sections"])


def test_the_axis_is_what_runs_are_compared_at(specs):
    axes = {paper: {panel["x"] for panel in panels(spec, "lines")} for paper, spec in specs.items()}
    assert axes[1] == {"step"}
    assert "flow_time" in axes[2]
    assert axes[3] >= {"decades"}


def test_curves_are_mean_and_range_of_the_seeds(specs):
    for spec in specs.values():
        for panel in panels(spec, "lines"):
            mean, low, high = panel["y"]
            assert (low, high) == (f"min/{mean}", f"max/{mean}")


def test_filters_and_groups_are_keys_of_a_cells_run(specs):
    for paper, spec in specs.items():
        name = spec["filters"]["name"][0]
        config, _ = sweep.first([f"+experiment={name}", "profile=smoke"])
        described = wandb_mirror.described(config)
        assert all(key in described for key in (*spec["filters"], *spec["group_by"]))
        assert (described["paper"], described["profile"]) == (paper, "smoke")
        for panel in panels(spec, "scatter") + panels(spec, "bars"):
            place = described
            for key in panel.get("x", panel.get("by")).split(".")[:1]:
                assert key in place


def test_panels_show_what_the_runs_log(tmp_path):
    """Of fabricated cells of paper 1, every curve and every number at the end is in the history of some run."""
    cells = fabricated.paper1(tmp_path)
    logged = set()
    for cell in (cell for some in cells.values() for cell in some):
        for row in store.rows(cell):
            logged |= set(wandb_run.history_entry([row]))
    spec = workspaces.specification(1, "default", tmp_path)
    shown = {name for panel in panels(spec, "lines") for name in panel["y"]}
    shown |= {panel["y"] for panel in panels(spec, "scatter") + panels(spec, "bars")}
    assert shown and shown <= logged
    assert "kkt_residual" in {panel["y"][0] for panel in panels(spec, "lines")}
    assert "z_flip" not in {panel["y"][0] for panel in panels(spec, "lines")}, "measured at the end only"


def test_a_verdict_stands_in_its_section(tmp_path):
    folder = tmp_path / "reports" / "paper1"
    folder.mkdir(parents=True)
    result = verdicts.judge(verdicts.load(1), {})[1]
    numbers = {"verdict": Verdict.CONTRADICTED, "name": "exponent", "estimate": 0.7, "low": 0.6, "high": 0.8}
    store.write_json(folder / "claims.json", paper_page.plain([result.model_copy(update=numbers)]))
    spec = workspaces.specification(1, "default", tmp_path)
    (section,) = [section for section in spec["sections"] if section["name"].startswith("P1-C2 ")]
    assert "**contradicted**: exponent: 0.7 [0.6, 0.8]" in section["panels"][0]["text"]


def test_the_workspace_is_the_specification(specs):
    pytest.importorskip("wandb_workspaces")
    spec = specs[3]
    built = workspaces.workspace(spec, "someone", "suite")._to_model().model_dump(by_alias=True, exclude_none=True)
    text = json.dumps(built)
    sections = built["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][: len(spec["sections"])] == [s["name"] for s in spec["sections"]]
    lines = [p["config"] for s in sections for p in s["panels"] if p["viewType"] == "Run History Line Plot"]
    assert [line["metrics"] for line in lines] == [panel["y"] for panel in panels(spec, "lines")]
    assert {line["xAxis"] for line in lines} == {panel["x"] for panel in panels(spec, "lines")}
    assert {(line["groupAgg"], line["groupArea"]) for line in lines} == {("mean", "minmax")}
    assert all(f'"{name}"' in text for name in spec["filters"]["name"])
    assert "config:label" in text or '"label' in text


def test_without_a_key_specifications_are_written_and_one_line_says_how_to_push(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    assert command.main(["profile=smoke", f"outputs={tmp_path}"]) == 0
    told = capsys.readouterr().err.strip()
    assert "\n" not in told and "wandb login" in told
    written = sorted(path.name for path in (tmp_path / "dashboards").iterdir())
    assert written == [f"paper{paper}.json" for paper in schema.papers()]


def test_without_the_extra_one_line_says_so(monkeypatch):
    monkeypatch.setattr(workspaces.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="workspaces"):
        workspaces.push([], "suite", Path())


def test_a_key_pushes_one_view_per_paper_and_again_the_same(specs, monkeypatch, tmp_path):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb.teardown()
        addresses = workspaces.push(list(specs.values()), "suite", tmp_path)
        assert workspaces.push(list(specs.values()), "suite", tmp_path) == addresses
        wandb.teardown()
    assert len(addresses) == len(specs) and all("tester/suite" in address for address in addresses)
    assert [view["displayName"] for view in server.views.values()] == [spec["name"] for spec in specs.values()]


@pytest.mark.parametrize("word", ["profil=smoke", "--push", "profile=large"])
def test_a_mistake_is_one_line(word, tmp_path, capsys):
    assert command.main([word, f"outputs={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
