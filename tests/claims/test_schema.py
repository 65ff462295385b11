import re

import pytest
import yaml

from src.claims import schema, verdicts
from src.config import sweep
from src.constraints import Range
from src.errors import ConfigError
from src.training.stopping import measured

GOOD = {
    "id": "P9-C1",
    "statement": "It does.",
    "formula": "a = b",
    "source": "closed form",
    "experiment": "some_experiment",
    "parts": [{"says": "a number", "value": "a / b", "criterion": {"at_most": 1}}],
}


def load(tmp_path, text):
    (tmp_path / "paper9.yaml").write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    return verdicts.load(9, tmp_path)


def changed(**part):
    return [GOOD | {"parts": [GOOD["parts"][0] | part]}]


def test_a_claim_is_read_with_its_defaults(tmp_path):
    (claim,) = load(tmp_path, [GOOD])
    (part,) = claim.parts
    assert (claim.id, claim.paper, part.experiments) == ("P9-C1", 9, ("some_experiment",))
    assert (part.where, part.statistic, part.criterion, part.members) == ("final", "median", Range(high=1.0), 3)
    assert part.needs_converged


def test_a_claim_says_for_all_its_parts_what_converged_means(tmp_path):
    own = GOOD["parts"][0] | {"converged": "slack < 1"}
    (claim,) = load(tmp_path, [GOOD | {"converged": "kappa >= 0.6", "parts": [*GOOD["parts"], own]}])
    assert [part.converged for part in claim.parts] == ["kappa >= 0.6", "slack < 1"]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([GOOD | {"statment": "x"}], ("P9-C1.statment", "did you mean 'statement'?")),
        ([{key: GOOD[key] for key in GOOD if key != "source"}], ("P9-C1.source", "missing")),
        (changed(statistc="mean"), ("P9-C1.parts[0].statistc", "did you mean 'statistic'?")),
        (changed(statistic="medain"), ("P9-C1.parts[0].statistic=medain", "did you mean 'median'?")),
        (changed(criterion={"at_mots": 1}), ("criterion.at_mots", "did you mean 'at_most'?")),
        (changed(criterion={"between": [2, 1]}), ("criterion.between", "smaller one first")),
        (changed(criterion={"at_most": "1e-3"}), ("criterion.at_most=1e-3", "write 0.001")),
        (changed(criterion=None), ("P9-C1.parts", "needs a criterion")),
        (changed(value="a / / b"), ("P9-C1.parts[0].value", "is not an expression")),
        (changed(statistic="slope"), ("P9-C1.parts[0].against", "goes with statistic: slope")),
        (changed(of="points"), ("P9-C1.parts[0].of", "goes with statistic: rate")),
        (changed(needs={"data_k": 0}), ("P9-C1.parts[0].needs", "how many values")),
        (changed(members=True), ("P9-C1.parts[0].members", "whole number")),
        ([GOOD | {"parts": []}], ("P9-C1.parts", "at least one part")),
        ([GOOD, GOOD], ("paper9.id=P9-C1", "stands twice")),
        ({"id": "P9-C1"}, ("claims=paper9.yaml", "must be a list")),
        ("- id: [", ("claims=paper9.yaml", "is not YAML")),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_allowed(tmp_path, entries, says):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, entries)
    for words in says:
        assert words in str(refusal.value)


def test_a_paper_without_claims_is_told(tmp_path):
    load(tmp_path, [GOOD])
    with pytest.raises(ConfigError, match=r"paper=7: has no claims; papers that have: 9"):
        verdicts.load(7, tmp_path)


@pytest.mark.parametrize("file", sorted(file.stem for file in schema.FOLDER.glob("paper*.yaml")))
def test_the_suites_own_claims_are_read(file):
    paper = int(file.removeprefix("paper"))
    found = verdicts.load(paper)
    assert found
    places = [re.fullmatch(rf"P{paper}-C(\d+)([a-z]?)", claim.id).groups() for claim in found]
    assert places == sorted(places, key=lambda place: (int(place[0]), place[1]))


@pytest.mark.parametrize("profile", ["default", "paper"])
def test_shares_of_the_budget_that_claims_name_are_measured(profile):
    named = {}
    for claim in verdicts.load(3):
        for part in claim.parts:
            shares = re.findall(r"step / steps (?:==|in) (0\.\d+|\[.*?\])", f"{part.where} {part.versus}")
            named.setdefault(part.experiments[0], set()).update(map(float, re.findall(r"0\.\d+", " ".join(shares))))
    assert len(named["muon_margin"]) == 8
    for experiment, shares in named.items():
        config = sweep.expand([f"+experiment={experiment}", f"profile={profile}"])[0]
        steps = config.steps
        assert shares <= {step / steps for step in measured(steps, config.snapshots)}
