"""Sections, axes, keys and filters of workspaces exist in runs; offline runs are uploaded."""

import json
from functools import cache
from types import SimpleNamespace

import pytest

from src.claims import schema, verdicts
from src.claims.results import Verdict
from src.config import sweep
from src.config.papers import file_name
from src.dashboards import __main__ as command
from src.dashboards import workspaces
from src.errors import ConfigError
from src.report import paper_page
from src.results import store, wandb_mirror, wandb_run
from tests import fabricated


@pytest.fixture(scope="module", autouse=True)
def composed_once():
    """Compose the first cell of every experiment once for all tests, which takes most of their time."""
    first = cache(lambda words: sweep.first(words))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workspaces, "sweep", SimpleNamespace(first=lambda words: first(tuple(words))))
        yield


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    """Return the specifications of all papers without any run."""
    outputs = tmp_path_factory.mktemp("outputs")
    return {paper: workspaces.specification(paper, "smoke", outputs) for paper in schema.papers()}


def panels(spec, kind):
    return [panel for section in spec["sections"] for panel in section["panels"] if panel["panel"] == kind]


def test_sections_are_the_claims_in_their_order(specs):
    for paper, spec in specs.items():
        names = [section["name"].split()[0] for section in spec["sections"]]
        assert names == ["Verdicts", *(claim.id for claim in schema.load(paper))]
        assert all(len(section["panels"]) > 1 for section in spec["sections"])


def test_curves_are_mean_and_range_of_the_seeds_over_what_runs_are_compared_at(specs):
    lines = {paper: panels(spec, "LinePlot") for paper, spec in specs.items()}
    axes = {paper: {panel["x"] for panel in own} for paper, own in lines.items()}
    assert axes[1] == {"step"} and "flow_time" in axes[2] and axes[3] >= {"decades"}
    for mean, low, high in (panel["y"] for own in lines.values() for panel in own):
        assert (low, high) == (f"min/{mean}", f"max/{mean}")


def test_filters_groups_and_axes_are_keys_of_a_cells_run(specs):
    for paper, spec in specs.items():
        config, _ = sweep.first([f"+experiment={spec['filters']['name'][0]}", "profile=smoke"])
        described = wandb_mirror.described(config)
        keys = [panel["x"] for panel in panels(spec, "ScatterPlot")]
        keys += [panel["groupby"] for panel in panels(spec, "BarPlot")]
        keys = [key.removeprefix("config:").split(".")[0] for key in keys]
        assert {*keys, *spec["filters"], *spec["group_by"]} <= described.keys()
        assert (spec["filters"]["paper"], spec["filters"]["profile"]) == (paper, described["profile"])


def test_panels_show_what_the_runs_log(tmp_path):
    """Every curve and final number of a panel is in the history of a fabricated cell of paper 1."""
    cells = [cell for of_experiment in fabricated.paper1(tmp_path).values() for cell in of_experiment]
    logged = {name for cell in cells for row in store.rows(cell) for name in wandb_run.history_entry([row])}
    spec = workspaces.specification(1, "smoke", tmp_path)
    curves = {name for panel in panels(spec, "LinePlot") for name in panel["y"]}
    ends = {panel["y"] for panel in panels(spec, "ScatterPlot")}
    ends |= {panel["metrics"][0] for panel in panels(spec, "BarPlot")}
    assert curves and ends and curves | ends <= logged
    assert "kkt_residual" in curves and "z_flip" not in curves, "z_flip is measured at the end only"


def test_a_verdict_stands_in_its_section(tmp_path):
    folder = tmp_path / "reports" / "paper1-smoke"
    folder.mkdir(parents=True)
    result = verdicts.judge(verdicts.load(1), {})[1]
    numbers = {"verdict": Verdict.CONTRADICTED, "name": "exponent", "estimate": 0.7, "low": 0.6, "high": 0.8}
    store.write_json(folder / "claims.json", paper_page.plain([result.model_copy(update=numbers)]))
    spec = workspaces.specification(1, "smoke", tmp_path)
    (section,) = [section for section in spec["sections"] if section["name"].startswith("P1-C2 ")]
    assert "**contradicted**: exponent: 0.7 [0.6, 0.8]" in section["panels"][0]["markdown"]


def test_the_workspace_is_the_specification(specs):
    pytest.importorskip("wandb_workspaces")
    spec = specs[3]
    built = command.workspace(spec, "someone", "suite")._to_model().model_dump(by_alias=True, exclude_none=True)
    sections = built["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][: len(spec["sections"])] == [s["name"] for s in spec["sections"]]
    configs = [panel["config"] for section in sections for panel in section["panels"]]
    lines = [config for config in configs if "metrics" in config and "xAxis" in config]
    assert [line["metrics"] for line in lines] == [panel["y"] for panel in panels(spec, "LinePlot")]
    assert {line["xAxis"] for line in lines} == {panel["x"] for panel in panels(spec, "LinePlot")}
    assert {(line["groupAgg"], line["groupArea"]) for line in lines} == {("mean", "minmax")}
    text = json.dumps(built)
    assert all(f'"{name}"' in text for name in spec["filters"]["name"])
    assert "config:optimizer.value" in text and '"label' in text


@pytest.mark.usefixtures("wandb_server")
def test_without_a_key_specifications_are_written_and_one_line_says_how_to_push(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert command.main(["profile=smoke", f"outputs={tmp_path}"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "wandb login" in line
    written = sorted(path.name for path in (tmp_path / "dashboards").iterdir())
    assert written == sorted(f"{file_name(paper)}.json" for paper in schema.papers())


def test_without_the_extra_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="workspaces"):
        command.push([], "suite", tmp_path)


def test_a_key_pushes_one_view_per_paper_and_again_the_same(specs, tmp_path, wandb_server):
    pytest.importorskip("wandb_workspaces")
    addresses = command.push(list(specs.values()), "suite", tmp_path)
    assert command.push(list(specs.values()), "suite", tmp_path) == addresses
    assert len(addresses) == len(specs) and all("tester/suite" in address for address in addresses)
    names = [view["displayName"] for view in wandb_server.views.values()]
    assert names == [spec["name"] for spec in specs.values()]


def test_offline_runs_are_uploaded_with_a_key_and_only_then(tmp_path, monkeypatch, capsys, wandb_server):
    about = {"id": "cell0", "project": "suite", "name": "n", "group": "g", "job_type": "cell"}
    run = wandb_run.open_run("offline", tmp_path, **about)
    run.log([{"step": 1, "seed": 0, "margin": 1.0}])
    run.finish()
    with monkeypatch.context() as no_key:
        no_key.delenv("WANDB_API_KEY")
        no_key.setenv("NETRC", str(tmp_path / "netrc"))
        wandb_run._import().teardown()
        assert command.main(["upload", f"outputs={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    wandb_run._import().teardown()
    assert command.main(["upload", f"outputs={tmp_path}"]) == 0
    assert [row["step"] for row in wandb_server.rows["cell0"]] == [1]


@pytest.mark.parametrize("words", ["browse upload", "upload", "browse x=1"])
def test_a_mistake_is_one_line(words, tmp_path, capsys):
    assert command.main([*words.split(), f"outputs={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
