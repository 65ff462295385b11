"""Paper 2 from the command line to rows, at its smallest: resumed within an epoch."""

import math

import pytest

from src import run as entry
from src.config import sweep
from src.results import store
from src.runner import build
from src.runner import cell as cells
from src.training.batches import build as batches
from src.types import Batch

OVERRIDES = ["profile=smoke", "tracking.mode=disabled"]
GAP = ["+experiment=tnn_generalization_gap", *OVERRIDES, "model.rank=2", "model.width=6", "data.n=130", "seeds=[5,6]"]


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["run"])


def run(experiment, outputs, *overrides):
    return entry.run([f"+experiment={experiment}", *OVERRIDES, f"outputs={outputs}", *overrides])


class Killed(BaseException):
    """Not an Exception: like a kill, it leaves the cell as it is."""


def test_killed_in_the_middle_of_an_epoch_it_goes_on_bit_for_bit(tmp_path, monkeypatch):
    """An epoch is three steps: 50, 50 and 30 examples."""
    whole, killed = ([*GAP, "checkpoint_every=0", f"outputs={tmp_path / name}"] for name in ("whole", "killed"))
    ((config,), (other,)) = (sweep.expand(overrides) for overrides in (whole, killed))
    cells.run(config, "command", log=str)
    train = cells.loop.train

    def mortal(*args):
        for progress in train(*args):
            if progress.step == 5:
                raise Killed
            yield progress

    with monkeypatch.context() as patched:
        patched.setattr(cells.loop, "train", mortal)
        with pytest.raises(Killed):
            cells.run(other, "command", log=str)
    cell = cells.run(other, "command", log=str)
    assert "resumed at step 4" in (cell / "run.log").read_text()
    for name in ("metrics.jsonl", "summary.json"):
        assert (cell / name).read_bytes() == (config.folder / name).read_bytes()


def test_the_risk_of_an_epoch_is_the_mean_over_its_batches_while_weights_moved(tmp_path):
    (config,) = sweep.expand([*GAP, f"outputs={tmp_path}"])
    rows = store.rows(cells.run(config, "command", log=str))
    parts = build.assemble(config)
    params = build.start(config, parts).params
    state, batch, risks = parts.rule.init(params), batches(parts.task, config.seeds, 50), []
    for step in range(config.steps):
        assert isinstance(batch(step), Batch)
        log_risk, grad = parts.objective(params, batch(step))
        risks.append(log_risk.double().exp())
        params, state = parts.rule.update(params, state, log_risk, grad)
    for row in rows[-2:]:
        expected = sum(float(risk[row["member"]]) for risk in risks[3:6]) / 3
        assert row["step"] == 6 and math.isclose(row["epoch_risk"], expected, rel_tol=1e-12)
