"""Microbatching over members: the same numbers, and an accurate estimate of memory."""

import pytest
import torch

from src.config import sweep
from src.errors import ConfigError
from src.models import mlp
from src.optimizers import adam
from src.runner import build
from src.runner import cell as cells
from src.training import microbatching
from src.training.objectives import logistic
from src.types import Batch
from tests.problems import network_problem

MEMBERS = 5
SMALL = [
    "+experiment=muon_margin",
    "optimizer=adam",
    "compare_at_loss=[]",
    "profile=smoke",
    "steps=20",
    "seeds=[1,2,3]",
]


@pytest.mark.parametrize("size", [1, 2, 3, MEMBERS])
def test_a_risk_microbatched_is_the_risk(size):
    task, model, risk = network_problem(members=MEMBERS)
    params, batch = model.init(range(MEMBERS)), Batch(task.x, task.y)
    (whole, grad), (split, split_grad) = risk(params, batch), microbatching.microbatched(risk, size)(params, batch)
    torch.testing.assert_close(split, whole, rtol=1e-13, atol=0)  # BLAS may round a single matrix in another order
    for name in params:
        torch.testing.assert_close(split_grad.direction[name], grad.direction[name], rtol=1e-10, atol=1e-15)


def test_a_cell_writes_the_same_bytes_when_its_members_are_split(tmp_path, monkeypatch):
    sizes, microbatched = [], microbatching.microbatched
    monkeypatch.setattr(
        microbatching, "microbatched", lambda objective, size: sizes.append(size) or microbatched(objective, size)
    )
    written = []
    for part, bound in (("whole", None), ("split", None)):
        words = [*SMALL, "tracking.mode=disabled", f"outputs={tmp_path / part}"]
        (config,) = sweep.expand(words)
        if part == "split":
            (bound,) = _least(config)
        cell = cells.run(config.model_copy(update={"memory_gb": bound}), "command")
        written.append((cell / "metrics.jsonl").read_bytes())
    assert sizes
    assert sizes[0] < 3
    assert written[0] == written[1]


def _least(config):
    """Return the smallest bound according to the error message, slightly rounded up."""
    with pytest.raises(ConfigError) as error:
        cells.run(config.model_copy(update={"memory_gb": 1e-9}), "command")
    return [1.01 * float(str(error.value).split(">= ")[1].split(",")[0])]


def test_the_estimate_equals_the_bytes_saved_for_all_examples():
    task, model, risk = network_problem(members=2, n=400, width=50)
    params, batch = model.init([0, 1]), Batch(task.x, task.y)
    estimate = microbatching.activations(risk, params, batch)
    assert estimate == pytest.approx(microbatching.TRANSIENT * microbatching._saved(risk, params, batch, 400), rel=0.01)
    assert estimate > 400 * 50 * 8, "the hidden layer alone"


def test_memory_of_a_cpu_is_not_bounded():
    task, model, risk = network_problem(members=2)
    assert microbatching.within(None, risk, model.init([0, 1]), {}, Batch(task.x, task.y)) is risk


def test_a_bound_too_small_for_one_member_is_rejected():
    task, model, risk = network_problem(members=2)
    params = model.init([0, 1])
    with pytest.raises(ConfigError, match=r"memory_gb=1e-06: must be >= .*, for 2 members"):
        microbatching.within(1e-6, risk, params, {}, Batch(task.x, task.y))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_estimate_bounds_memory_and_results_equal_those_of_the_cpu():
    task, _, _ = network_problem(members=8, n=4096, width=5)
    tasks = {"cuda": build.placed(task, "cuda", "float64"), "cpu": task}
    results = {}
    for device, data in tasks.items():
        model = mlp.build(data, width=512)
        risk, rule = logistic(data, model), adam.build(data, model)
        params = {name: leaf.to(data.x) for name, leaf in model.init(range(8)).items()}
        batch, state = Batch(data.x, data.y), rule.init(params)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            bounded = microbatching.microbatched(risk, 2)
            bounded(params, batch)
            used = torch.cuda.max_memory_allocated() - before
            held = 3 * sum(leaf.nbytes for leaf in params.values())
            assert used <= 2 * microbatching.activations(risk, params, batch) + held
        for _ in range(5):
            params, state = rule.update(params, state, *risk(params, batch))
        results[device] = {name: leaf.cpu() for name, leaf in params.items()}
    for name, leaf in results["cpu"].items():
        torch.testing.assert_close(results["cuda"][name], leaf, rtol=1e-8, atol=1e-10)
