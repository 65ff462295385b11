"""Paper 2 from the command line to verdicts, at its smallest: resumed within an epoch, and refused where it must be."""

import gzip
import math

import pytest

from src import run as entry
from src.config import sweep
from src.data import mnist
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


WRONG = {
    "a rank above the dimension": ("model.rank=29", "model.rank=29: must be <= 28"),
    "a perturbation above one": ("objective.eps=1.5", "objective.eps=1.5: must be a number >= 0 and <= 1"),
    "one class": ("data.negative=[]", "data.negative=[]: must list at least one"),
    "more images than there are": ("data.n=20000", "data.n=20000: must be <= 12396"),
    "vectors": ("data.layout=vector", "needs inputs that are matrices"),
    "a transform there is not": ("model.transform=dct2", "did you mean 'dct'"),
    "weights kept where they cannot be": (
        ["model.transform=authors", "model.coordinates=transform"], "must be original with model.transform=authors"
    ),
    "a protocol there is not": ("protocol=released_cod", "did you mean 'released_code'"),
    "a batch larger than the data": ("batch_size=101", "batch_size=101: must be <= 100"),
    "images outside the box": (["data.scale=pixels", "objective.box=[0,0.5]"], "must contain all inputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_exit_code_two(name, tmp_path, capfd):
    overrides, words = WRONG[name]
    overrides = [overrides] if isinstance(overrides, str) else overrides
    base = ["data.n=100", "model.rank=2"]
    base = [word for word in base if word.split("=")[0] not in {other.split("=")[0] for other in overrides}]
    assert run("tnn_generalization_gap", tmp_path, *base, *overrides, "report=false") == 2
    complaints = [line for line in capfd.readouterr().err.splitlines() if "already finished" not in line]
    assert len(complaints) == 1, complaints
    assert words in complaints[0]


@pytest.mark.parametrize("content", [None, gzip.compress(b"other")], ids=["missing", "damaged"])
def test_a_missing_or_damaged_file_is_one_line(content, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(mnist, "FOLDER", tmp_path / "data")
    mnist.read.cache_clear()
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    if content is not None:
        (tmp_path / "data" / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    assert run("tnn_generalization_gap", tmp_path, "data.n=100", "model.rank=2", "report=false") == 2
    mnist.read.cache_clear()
    complaints = [line for line in capfd.readouterr().err.splitlines() if "already finished" not in line]
    assert len(complaints) == 1, complaints
    assert ("is missing" if content is None else "is damaged") in complaints[0]
