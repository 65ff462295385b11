"""Every test runs on one thread in float64 precision, offline, and without leaving anything in the repository."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

collect_ignore = ["faults"]  # `make test-faults` takes minutes


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
