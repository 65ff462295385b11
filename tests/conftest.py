"""Every test runs on one thread in float64 precision, offline, and without leaving anything in the repository."""

import os
import threading
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

collect_ignore = ["faults"]  # `make test-faults` takes minutes


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def empty_figures():
    """Figures are drawn, but their files are empty: rendering takes most of the time."""
    from src.report.figures import style

    def save(figure, stem):
        files = stem.with_suffix(".png"), stem.with_suffix(".pdf")
        for file in files:
            file.write_bytes(b"")
        return files

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(style, "save", save)
        yield


@pytest.fixture
def wandb_server(monkeypatch):
    """A W&B server and a key for it, in a process that has not started W&B."""
    import wandb

    from src.results import wandb_run
    from tests import fake_wandb

    monkeypatch.setattr(wandb_run, "_failed", set())
    monkeypatch.setattr(wandb_run, "_problems", [])
    monkeypatch.setattr(wandb_run, "PATIENCE", 120.0)  # on a busy machine wandb-core takes long to start
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()
    with fake_wandb.serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
    wandb.teardown()
    for thread in threading.enumerate():  # one that ends later would mark a mode as failed in the next test
        if thread.name.startswith("W&B "):
            thread.join(60)


SLOW = (
    "attacks/test_minimal.py",
    "benchmarks",
    "claims/test_deviations.py",
    "config/test_bad_input.py",
    "config/test_your_margin.py",
    "dashboards",
    "end_to_end",
    "examples",
    "measurements/test_linear_optimum.py",
    "report/figures",
    "report/test_finalize.py",
    "report/test_paper_page.py",
    "results/test_wandb_run.py",
    "runner",
    "test_cli.py",
)
"""Files and folders of tests that start commands, run whole cells or draw figures; `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items):
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder) and item.path.relative_to(folder).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
