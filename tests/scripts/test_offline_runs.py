"""Uploading and browsing offline runs: mistakes end in one line, the rest is the wandb command's."""

import pytest
import wandb

from scripts import offline_runs
from src.results import wandb_run
from tests import fake_wandb


@pytest.mark.parametrize("words", ["", "uplaod", "browse upload", "upload outputs=nowhere", "browse x=1"])
def test_a_mistake_is_one_line(words, capsys):
    assert offline_runs.main(words.split()) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_runs_are_uploaded_with_a_key_and_only_then(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    about = {"run_id": "cell0", "project": "suite", "name": "n", "group": "g", "job_type": "cell"}
    mirror = wandb_run.open_run("offline", tmp_path, **about)
    mirror.log([{"step": 1, "seed": 0, "margin": 1.0}])
    mirror.finish()
    wandb.teardown()
    assert offline_runs.main(["upload", f"outputs={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb.teardown()
        assert offline_runs.main(["upload", f"outputs={tmp_path}"]) == 0
        assert [row["step"] for row in server.rows["cell0"]] == [1]
    wandb.teardown()
