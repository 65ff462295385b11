import re

import pandas
import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.claims import deviations
from src.claims import schema as claims
from src.config import hydra_internals, schema, sweep
from src.config.components import CONF
from src.errors import ConfigError

GOOD = {
    "id": "P9-L1",
    "subject": "the step",
    "paper": "s = 1",
    "code": "s = 2",
    "switch": {"paper": "optimizer=muon optimizer.scaling=none", "code": "optimizer.scaling=original"},
    "effect": {
        "experiment": "steps",
        "name": "width at s = 2 over that at s = 1",
        "ratio": "width",
        "rows": "s == 2",
        "baseline": "s == 1",
    },
    "note": "Wider.",
}
OWN = [entry for paper in claims.papers() for entry in deviations.load(paper)]


def load(tmp_path, *entries):
    (tmp_path / "paper9.yaml").write_text(yaml.safe_dump(list(entries)))
    return deviations.load(9, tmp_path)


def test_an_effect_has_an_interval_and_no_verdict(tmp_path):
    rows = [
        {"experiment": "steps", "cell": f"s{s}", "member": m, "seed": m, "step": 9, "final": True, "converged": True}
        | {"s": s, "width": s * (3 + m)}
        for s in (1, 2)
        for m in range(5)
    ]
    (record,) = deviations.measure(load(tmp_path, GOOD), {"steps": pandas.DataFrame(rows)})
    effect = record.effect
    assert (record.id, record.switch.code) == ("P9-L1", "optimizer.scaling=original")
    assert effect.estimate == 2
    assert effect.low <= 2 <= effect.high
    assert (effect.n, effect.verdict, effect.cells) == (10, "informational", ("steps/s1", "steps/s2"))


def test_an_effect_that_no_cell_shows_says_so(tmp_path):
    (record,) = deviations.measure(load(tmp_path, GOOD), {})
    assert record.effect.estimate is None
    assert record.effect.reason == "steps has no finished cell"
    (record,) = deviations.measure(load(tmp_path, GOOD | {"effect": None}), {})
    assert record.effect is None


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (GOOD | {"nots": "x"}, ("P9-L1.nots", "did you mean 'note'?")),
        ({key: GOOD[key] for key in GOOD if key != "effect"}, ("P9-L1.effect", "missing")),
        (GOOD | {"paper": " "}, ("P9-L1.paper", "must be text")),
        (GOOD | {"switch": {"paper": "a=1"}}, ("P9-L1.switch.code", "missing")),
        (GOOD | {"switch": {"paper": "a=1", "code": "b = 2"}}, ("P9-L1.switch.code", "must be key=value")),
        (GOOD | {"effect": "large"}, ("P9-L1.effect", "must be a mapping with the keys name, statistic")),
        (GOOD | {"effect": {"name": "x", "median": "x"}}, ("P9-L1.effect.experiment", "missing")),
        (GOOD | {"effect": GOOD["effect"] | {"criterion": {"at_most": 1}}}, ("P9-L1.effect.criterion", "unknown key")),
        (GOOD | {"effect": GOOD["effect"] | {"vs": "x"}}, ("P9-L1.effect.vs", "unknown key")),
    ],
)
def test_a_damaged_entry_is_refused_with_what_is_allowed(tmp_path, entry, says):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, entry)
    for words in says:
        assert words in str(refusal.value)


def test_entries_do_not_share_an_id_and_a_paper_may_have_none(tmp_path):
    assert deviations.load(9, tmp_path) == []
    with pytest.raises(ConfigError, match="duplicate id"):
        load(tmp_path, GOOD, GOOD)


@pytest.mark.parametrize("switch", sorted({side for entry in OWN for side in (entry.switch.paper, entry.switch.code)}))
def test_every_switch_of_the_suites_deviations_is_a_command_that_composes(switch):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert schema.typed(schema.resolved(hydra_internals.composer(CONF)(switch.split())))


@pytest.mark.parametrize("entry", [e for e in OWN if not e.effect], ids=lambda entry: entry.id)
def test_an_effect_that_is_not_measured_comes_with_the_command_that_would(entry):
    commands = re.findall(r"`python -m src\.run ([^`]+)`", entry.note)
    assert commands
    for command in commands:
        smoke = [] if "profile=" in command else ["profile=smoke"]  # fewer cells
        assert sweep.expand([*command.split(), *smoke])
