"""Cells that train in one batch write what they write alone, however they end and wherever they are killed."""

import pytest

from src.config import schema, sweep
from src.errors import ConfigError
from src.results import store
from src.runner import cell as cells
from src.runner import launch, teams
from tests.runner.test_cell import Killed, bytes_of, mortal

RATES = ["+experiment=base_rate_margin", "profile=smoke", "optimizer=nmd", "vary.factor=0.7,1,1.4", "steps=80"]
RATES += ["together=null", "tracking.mode=disabled", "report=false"]
ENDS = ["+experiment=cluster_correlation", "profile=smoke", "data.rho=0,0.1,0.3", "data.d=256", "steps=400"]
ENDS += ["stop.every=20", "stop.slackness=0.5", "stop.flatness=0.5", "tracking.mode=disabled", "report=false"]


def run(words, outputs, **changed):
    configs = [config | changed for config in sweep.expand([*words, f"outputs={outputs}"])]
    cells.run_together([cells.Order(config, "command") for config in configs], say=lambda line: None)
    return {config["label"]: schema.folder(config) for config in configs}


@pytest.mark.parametrize("words", [RATES, ENDS], ids=["base rates", "members that end apart"])
def test_a_team_writes_what_its_cells_write_alone(tmp_path, words):
    alone, together = run(words, tmp_path / "alone"), run(words, tmp_path / "together", together=3)
    assert alone.keys() == together.keys()
    for label, cell in together.items():
        expected, found = store.rows(alone[label]), store.rows(cell)
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            assert flat(other) == pytest.approx(flat(one), rel=1e-6, abs=1e-9, nan_ok=True)
        mates = {mate.name for mate in together.values()} - {cell.name}
        (told,) = [line for line in (cell / "run.log").read_text().splitlines() if "in one batch with" in line]
        assert mates == set(told.partition("in one batch with ")[2].split(", "))
    if words is ENDS:
        assert len({store.status(cell)["converged"] for cell in together.values()} | {0}) > 1
        assert len({store.rows(cell)[-1]["step"] for cell in together.values()}) > 1, "they end at one step"


def flat(row):
    """A row with the entries of its curves beside its numbers."""
    curves = {key: value for key, value in row.items() if isinstance(value, list)}
    entries = {f"{key}[{i}]": entry for key, curve in curves.items() for i, entry in enumerate(curve)}
    return entries | {key: value for key, value in row.items() if key not in curves}


def test_a_cell_that_stands_twice_runs_once(tmp_path):
    """It would wait for itself."""
    words = [*RATES[:3], "vary.factor=1", "optimizer.lr=0.6,0.60", *RATES[4:], f"outputs={tmp_path}"]
    both = [config | {"together": 2} for config in sweep.expand(words)]
    (folder,) = {schema.folder(config) for config in both}
    cells.run_together([cells.Order(config, "command") for config in both], say=lambda line: None)
    assert store.finished(folder)


def test_a_team_that_is_killed_goes_on_bit_for_bit(tmp_path, monkeypatch):
    whole = run(RATES, tmp_path / "whole", together=3)
    original = cells.loop.train
    for budget in (25, 30):
        monkeypatch.setattr(cells.loop, "train", mortal(original, budget))
        with pytest.raises(Killed):
            run(RATES, tmp_path / "killed", together=3, checkpoint_every=0)
    monkeypatch.setattr(cells.loop, "train", original)
    killed = run(RATES, tmp_path / "killed", together=3)
    for label, cell in killed.items():
        assert "resumed at step" in (cell / "run.log").read_text()
        assert bytes_of(cell) == bytes_of(whole[label])


def test_cells_that_were_killed_at_different_steps_go_on_apart(tmp_path, monkeypatch):
    original = cells.loop.train
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(cells.loop, "train", mortal(original, 25))
        run(RATES, tmp_path, together=3, checkpoint_every=0)
    first = schema.folder(sweep.expand([*RATES, f"outputs={tmp_path}"])[0] | {"together": 3})
    (first / "checkpoint.pt").unlink()
    sizes = trained(monkeypatch)
    killed = run(RATES, tmp_path, together=3)
    assert sizes == [1, 2]
    assert {store.rows(cell)[-1]["step"] for cell in killed.values()} == {80}


def trained(monkeypatch):
    """The numbers of members that train at once, as they come."""
    sizes, train = [], cells.loop.train

    def noted(begin, *rest):
        sizes.append(len(begin.converged))
        return train(begin, *rest)

    monkeypatch.setattr(cells.loop, "train", noted)
    return sizes


def test_teams_are_as_large_as_told_and_as_fits(tmp_path, monkeypatch):
    sizes = trained(monkeypatch)
    run(RATES, tmp_path / "two", together=2)
    assert sizes == [2, 1]  # members: a cell of profile smoke has one
    sizes.clear()
    monkeypatch.setattr(cells.microbatching, "at_once", lambda *given: 2)
    run(RATES, tmp_path / "fits", together=3)
    assert sizes == [2, 1]


def test_cells_that_differ_in_more_than_members_may_are_no_team(tmp_path, monkeypatch):
    sizes = trained(monkeypatch)
    words = [word for word in RATES if not word.startswith(("optimizer", "vary"))]
    run([*words, "optimizer=nmd,adam", "vary.factor=1"], tmp_path, together=9)
    assert sizes == [1, 1]
    sizes.clear()
    run([*ENDS[:2], *ENDS[3:], "data.rho=0,0.2", "data.n=20,24"], tmp_path, together=9)
    assert sizes == [2, 2]  # two correlations in each, of one number of examples


def test_one_that_cannot_start_stops_no_other(tmp_path):
    configs = sweep.expand([*RATES, f"outputs={tmp_path}"])
    configs[1] = configs[1] | {"data": configs[1]["data"] | {"positive": [77]}}
    with pytest.raises(ConfigError, match="positive"):
        cells.run_together([cells.Order(config, "command") for config in configs], say=lambda line: None)
    assert [store.finished(schema.folder(config)) for config in configs] == [True, False, True]


def test_the_launcher_sends_a_team_as_one_job(tmp_path, monkeypatch):
    sizes = trained(monkeypatch)
    words = [*RATES, "launcher=basic", "together=2", f"outputs={tmp_path}"]
    jobs = sweep.jobs(words)
    assert launch.run(jobs, words) == []
    assert sorted(sizes) == [1, 2]
    assert all(store.finished(schema.folder(config)) for _, config in jobs)


def test_rates_of_a_team():
    configs = [{"optimizer": {"lr": rate}, "seeds": [1, 2]} for rate in (0.1, 0.1, [0.2, 0.3])]
    assert teams.rates(configs[:2]) == 0.1
    assert teams.rates(configs) == [0.1, 0.1, 0.1, 0.1, 0.2, 0.3]
