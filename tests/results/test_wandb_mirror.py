"""What W&B is told when a paper is concluded: every cell's verdicts, and the report as images, table and artifact."""

import json

import matplotlib.image
import numpy as np
import pytest
import wandb

from src.config import schema, sweep
from src.report import finalize
from src.results import store, wandb_mirror, wandb_run
from src.runner import cell
from tests import fabricated, fake_wandb

VERDICTS = [{"id": "P1-C10", "verdict": "reproduced", "experiment": "cluster_width", "cells": []}]
VERDICTS += [{"id": "P1-C1", "verdict": "inconclusive", "experiment": "cluster_literal", "cells": []}]


@pytest.fixture
def online(tmp_path, monkeypatch):
    """A finished cell's config, and the server its run goes to."""
    (folder,) = fabricated.sweep(tmp_path, "cluster_width", {}, rate=0.5)
    config = store.config_of(folder) | {"outputs": str(tmp_path), "tracking": {"mode": "online", "project": "suite"}}
    monkeypatch.setattr(schema, "folder", lambda config: folder)
    monkeypatch.setattr(schema, "identity", lambda config: "cell0")
    monkeypatch.setattr(wandb_run, "_lost", set())
    monkeypatch.setattr(wandb_run, "_trouble", [])
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield config, server
    wandb.teardown()


def test_the_verdicts_come_into_the_summary_of_the_cells_run_once(online):
    config, server = online
    wandb_mirror.tell_verdicts(config, ["P1-C10"], VERDICTS)
    summary = json.loads(server.files["cell0/wandb-summary.json"])
    assert summary["verdict/P1-C10"] == "reproduced" and "verdict/P1-C1" not in summary
    assert summary["z_r50"] == pytest.approx(22.6, rel=0.01) and summary["min/z_r50"] <= summary["z_r50"]
    assert [row["step"] for row in server.rows["cell0"] if "step" in row][:5] == [0, 1, 10, 100, 2000]
    run = server.runs["cell0"]
    assert set(run["tags"]) == {"paper1", "default", "cluster_width", "P1-C10"}
    asked = len(server.requests)
    wandb_mirror.tell_verdicts(config, ["P1-C10"], VERDICTS)
    assert len(server.requests) == asked
    wandb_mirror.tell_verdicts(config, ["P1-C10"], [VERDICTS[0] | {"verdict": "contradicted"}])
    assert json.loads(server.files["cell0/wandb-summary.json"])["verdict/P1-C10"] == "contradicted"


def test_a_disabled_mirror_is_told_nothing(online):
    config, server = online
    wandb_mirror.tell_verdicts(config | {"tracking": {"mode": "disabled", "project": "suite"}}, [], VERDICTS)
    assert not server.requests and not (schema.folder(config) / wandb_mirror.TOLD).exists()


def test_the_report_arrives_with_figures_table_and_artifact(online, tmp_path):
    config, server = online
    folder = tmp_path / "reports" / "paper1"
    (folder / "figures").mkdir(parents=True)
    matplotlib.image.imsave(folder / "figures" / "F1.png", np.zeros((2, 2)))
    for name in ("report.html", "claims.json", "claims.csv", "deviations.json"):
        (folder / name).write_text(f"this is {name}")
    wandb_mirror.tell_report(config, folder, "paper1", VERDICTS)
    (run,) = server.runs
    assert server.artifacts == {"paper1": "report", f"run-{run}-claims": "run_table"}
    assert server.files["paper1/report.html"] == b"this is report.html"
    table = json.loads(server.files[f"run-{run}-claims/claims.table.json"])
    assert table["data"][0][table["columns"].index("verdict")] == "reproduced"
    assert any(name.startswith(f"{run}/media/images/figures/F1") for name in server.files)
    assert (server.runs[run]["jobType"], server.runs[run]["groupName"]) == ("report", "paper1")


@pytest.mark.parametrize("lr", [0.1, [0.1, 0.2]])
def test_gradient_descent_is_told_in_time_of_gradient_flow(lr):
    expected = lr if isinstance(lr, float) else None
    assert wandb_mirror._time_per_step({"name": "sgd", "lr": lr}) == expected
    assert wandb_mirror._time_per_step({"name": "adam", "lr": lr}) is None
    entry = wandb_run.history_entry([{"step": 30, "seed": 0}], expected)
    assert entry.get("flow_time") == (pytest.approx(3) if expected else None)


@pytest.mark.parametrize("fault", ["refuse", "error", "hang"])
def test_a_cell_is_whole_whatever_the_server_does(fault, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(wandb_run.open_run.__kwdefaults__, "patience", 1.0)
    monkeypatch.setattr(wandb_run, "_lost", set())
    monkeypatch.setattr(wandb_run, "_trouble", [])
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    overrides = ["+experiment=cluster_width", "profile=smoke", "model.width=6,8", "steps=30", "stop.every=10"]
    configs = sweep.expand([*overrides, f"outputs={tmp_path}", "tracking.mode=online"])
    with fake_wandb.serve(fault) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for config in configs:
            cell.run(config, "python", say=lambda line: None)
        said = []
        assert finalize.experiment(configs, overrides, said.append) == 0
    wandb.teardown()
    assert all(store.finished(schema.folder(config)) for config in configs)
    assert (tmp_path / "reports" / "index.html").exists()
    told = [line for line in caplog.records if line.levelname == "WARNING" and line.name == "src.results.wandb_run"]
    assert len(told) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 3, "two cells and the report"
