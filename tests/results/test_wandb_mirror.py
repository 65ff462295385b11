"""The W&B runs of a cell and of a report."""

import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from src.config import schema, sweep
from src.report import finalize
from src.results import store, wandb_mirror, wandb_run
from src.runner import cell
from tests import fabricated
from tests.results.test_wandb_run import sync, warnings

JUDGED = [{"id": "P1-C10", "verdict": "reproduced", "experiment": "cluster_width", "cells": []}]


def test_a_resumed_cell_goes_on_with_the_rows_there_are(tmp_path, wandb_server, monkeypatch):
    (folder,) = fabricated.sweep(tmp_path, "cluster_width", {}, rate=0.5)
    monkeypatch.setattr(schema, "identity", lambda config: "cell0")
    words = ["+experiment=cluster_width", "model.width=6", "tracking.mode=online", f"outputs={tmp_path}"]
    (config,) = sweep.expand(words)
    wandb_mirror.open_cell(folder, config, ["P1-C10"]).finish()
    assert [row["step"] for row in wandb_server.rows["cell0"] if "step" in row][:5] == [0, 1, 10, 100, 2000]
    assert set(wandb_server.runs["cell0"]["tags"]) == {"paper1", "default", "cluster_width", "P1-C10"}


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_report_arrives_with_figures_table_and_artifact(mode, tmp_path, wandb_server, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "reports" / "paper1"
    (folder / "figures").mkdir(parents=True)
    matplotlib.image.imsave(folder / "figures" / "F1.png", np.zeros((2, 2)))
    for name in ("report.html", "claims.json", "claims.csv", "deviations.json"):
        (folder / name).write_text(f"this is {name}")
    tracking = schema.Tracking(mode=mode, project="suite")
    config = SimpleNamespace(paper=1, profile="default", outputs=str(tmp_path), tracking=tracking)
    wandb_mirror.log_report(config, folder, "paper1", JUDGED)
    if mode == "offline":
        assert not (tmp_path / "home").exists(), "what waits for an upload waits beside the runs"
        sync(tmp_path)
    (run,) = wandb_server.runs
    assert wandb_server.artifacts == {"paper1": "report", f"run-{run}-claims": "run_table"}
    assert wandb_server.files["paper1/report.html"] == b"this is report.html"
    table = json.loads(wandb_server.files[f"run-{run}-claims/claims.table.json"])
    assert table["data"][0][table["columns"].index("verdict")] == "reproduced"
    assert json.loads(wandb_server.files[f"{run}/wandb-summary.json"])["verdict/P1-C10"] == "reproduced"
    (image,) = [body for name, body in wandb_server.files.items() if name.startswith(f"{run}/media/images/figures/F1")]
    assert image == (folder / "figures" / "F1.png").read_bytes()
    assert (wandb_server.runs[run]["jobType"], wandb_server.runs[run]["groupName"]) == ("report", "paper1")


@pytest.mark.parametrize("lr", [0.1, [0.1, 0.2]])
def test_gradient_descent_is_shown_in_time_of_gradient_flow(lr):
    expected = lr if isinstance(lr, float) else None
    assert wandb_mirror._time_per_step(schema.Component(name="sgd", lr=lr)) == expected
    assert wandb_mirror._time_per_step(schema.Component(name="adam", lr=lr)) is None
    entry = wandb_run.history_entry([{"step": 30, "seed": 0}], expected)
    assert entry.get("flow_time") == (pytest.approx(3) if expected else None)


@pytest.mark.usefixtures("empty_figures")
def test_a_cell_is_whole_though_the_server_has_errors(tmp_path, monkeypatch, caplog, wandb_server):
    monkeypatch.setattr(wandb_run, "PATIENCE", 5.0)
    wandb_server.fault = "error"
    overrides = ["+experiment=cluster_width", "profile=smoke", "model.width=6,8", "steps=30", "stop.check_every=10"]
    configs = sweep.expand([*overrides, f"outputs={tmp_path}", "tracking.mode=online"])
    for config in configs:
        cell.run(config, "python", log=lambda line: None)
    assert finalize.experiments({"cluster_width": configs}, overrides, lambda line: None) == 0
    assert all(store.finished(config.folder) for config in configs)
    assert (tmp_path / "reports" / "index.html").exists()
    assert len(warnings(caplog)) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 3, "two cells and the report"
