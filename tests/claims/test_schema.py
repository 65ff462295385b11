import re

import pytest
import yaml

from src.claims import schema, verdicts
from src.constraints import Range
from src.errors import ConfigError

GOOD = {
    "id": "P9-C1",
    "statement": "It does.",
    "formula": "a = b",
    "source": "closed form",
    "experiment": "some_experiment",
    "parts": [{"name": "a number", "median": "a / b", "criterion": {"at_most": 1}}],
}
NORMS = {"l2": {"title": "ℓ2", "optimizers": ["ngd", "nmd"]}, "msp": {"title": "spectral", "optimizers": ["muon"]}}


def load(tmp_path, content, **head):
    text = content if isinstance(content, str) else yaml.safe_dump(head | {"claims": content})
    (tmp_path / "paper9.yaml").write_text(text)
    return verdicts.load(9, tmp_path)


def changed(**part):
    return [GOOD | {"parts": [GOOD["parts"][0] | part]}]


def without(key, entry=GOOD):
    return {name: value for name, value in entry.items() if name != key}


def test_a_claim_is_read_with_its_defaults(tmp_path):
    (claim,) = load(tmp_path, [GOOD])
    (part,) = claim.parts
    assert (claim.id, claim.paper, claim.check, part.experiments) == ("P9-C1", 9, False, ("some_experiment",))
    assert (part.statistic, part.quantity, part.rows, part.converged) == ("median", "a / b", "final", "converged")
    assert (part.criterion, part.min_seeds, part.require_converged) == (Range(high=1.0), 3, True)


def test_numbers_have_what_their_claim_says_unless_they_say_otherwise(tmp_path):
    own = GOOD["parts"][0] | {"converged": "slack < 1", "min_seeds": 7}
    report = [{"name": "reported", "max": "a"}]
    shared = {"converged": "kappa >= 0.6", "min_seeds": 5, "rows": "matched", "min_distinct": {"k": 2}}
    (claim,) = load(tmp_path, [GOOD | shared | {"parts": [*GOOD["parts"], own], "report": report}])
    assert [number.converged for number in claim.numbers] == ["kappa >= 0.6", "slack < 1", "kappa >= 0.6"]
    assert [part.min_seeds for part in claim.parts] == [5, 7]
    assert {number.rows for number in claim.numbers} == {"matched"}
    assert [number.min_distinct for number in claim.numbers] == [{"k": 2}, {"k": 2}, {}]
    (claim,) = load(tmp_path, [GOOD], converged="kappa >= 0.7")
    assert claim.parts[0].converged == "kappa >= 0.7"


@pytest.mark.parametrize(
    ("rows", "condition"),
    [
        ("end", "final and kappa >= 0.6"),
        ("end and k > 2", "final and kappa >= 0.6 and k > 2"),
        ("k > 2 and not end", "k > 2 and not (final and kappa >= 0.6)"),
        ("few and k > 2", "final and kappa >= 0.6 and (k == 1 or k == 2) and k > 2"),
        ("small and final", "(k == 1 or k == 2) and final"),
        ("name == 'end'", "name == 'end'"),
    ],
)
def test_the_name_of_a_set_stands_for_its_condition(tmp_path, rows, condition):
    sets = {"end": "final and kappa >= 0.6", "small": "k == 1 or k == 2"}
    (claim,) = load(
        tmp_path,
        yaml.safe_dump({"rows": sets | {"few": "end and small"}, "claims": changed(rows=rows)}, sort_keys=False),
    )
    assert claim.parts[0].rows == condition


def test_a_loop_over_a_table_makes_a_number_of_each_entry(tmp_path):
    block = {"for": "norm", "name": "{title} margin", "best_vs_best": "gamma_{norm}", "criterion": {"at_least": 1}}
    block |= {"rows": "final and name in {optimizers}", "baseline": "final and name not in {optimizers}"}
    (claim,) = load(tmp_path, [GOOD | {"parts": [block]}], norms=NORMS)
    assert [part.name for part in claim.parts] == ["ℓ2 margin", "spectral margin"]
    assert [part.quantity for part in claim.parts] == ["gamma_l2", "gamma_msp"]
    assert claim.parts[0].rows == "final and name in ['ngd', 'nmd']"
    (claim,) = load(tmp_path, [GOOD | {"parts": [block | {"for": {"norm": ["msp"]}}]}], norms=NORMS)
    assert [part.baseline for part in claim.parts] == ["final and name not in ['muon']"]


def test_a_loop_over_values_needs_no_table(tmp_path):
    (claim,) = load(tmp_path, changed(**{"for": {"layer": [1, 2]}, "name": "rank {layer}", "median": "srank_{layer}"}))
    assert [(part.name, part.quantity) for part in claim.parts] == [("rank 1", "srank_1"), ("rank 2", "srank_2")]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([GOOD | {"statment": "x"}], ("P9-C1.statment", "did you mean 'statement'?")),
        ([without("source")], ("P9-C1.source", "missing")),
        (changed(crtierion=1), ("P9-C1.parts[0].crtierion", "did you mean 'criterion'?")),
        ([GOOD | {"parts": [{"name": "x", "medain": "a", "criterion": {"at_most": 1}}]}], ("did you mean 'median'?",)),
        (changed(mean="a"), ("P9-C1.parts[0].statistic=[mean,median]", "must be one key of")),
        (changed(criterion={"at_mots": 1}), ("P9-C1.parts[0].criterion", "did you mean 'at_most'?")),
        (changed(criterion={"between": [2, 1]}), ("criterion", "with a <= b")),
        (changed(criterion={"at_most": "1e-3"}), ("criterion={at_most:1e-3}", "write 0.001")),
        (changed(criterion={"at_most": True}), ("criterion={at_most:true}", "must be at_least: a")),
        (changed(criterion=None), ("P9-C1.parts[0].criterion", "must be at_least")),
        ([GOOD | {"parts": [without("criterion", GOOD["parts"][0])]}], ("P9-C1.parts[0].criterion", "missing")),
        (changed(median="a / / b"), ("P9-C1.parts[0].quantity=a / / b", "is not an expression")),
        (changed(rows="final and"), ("P9-C1.parts[0].rows", "is not an expression")),
        (changed(baseline="a"), ("P9-C1.parts[0].baseline=a", "goes with ratio, paired_ratio")),
        (changed(says="x"), ("P9-C1.parts[0].says=x", "is now called name")),
        (changed(trials="points"), ("P9-C1.parts[0].trials", "goes with rate")),
        (changed(min_distinct={"data_k": 0}), ("P9-C1.parts[0].min_distinct.data_k", "greater than or equal to 1")),
        (changed(min_seeds=True), ("P9-C1.parts[0].min_seeds=true", "must be a valid integer")),
        (
            [GOOD | {"report": [{"name": "x", "max": "a", "criterion": {"at_most": 1}}]}],
            ("report[0].criterion", "unknown"),
        ),
        (changed(**{"for": "norms"}), ("P9-C1.parts[0].for=norms", "tables: none")),
        (changed(**{"for": {"k": [1]}, "name": "{kk}"}), ("P9-C1.parts[0].name={kk}", "unknown name 'kk'", "known: k")),
        ([GOOD | {"parts": []}], ("P9-C1.parts", "at least one")),
        ([GOOD, GOOD], ("paper9.id=P9-C1", "duplicate id")),
        ("rows: {a: 'b and'}\nclaims: []", ("paper9.rows.a=b and", "is not an expression")),
        ("row: final\nclaims: []", ("paper9.row=final", "must be rows, claims or a table")),
        ("[]", ("claims=paper9.yaml", "a mapping with the list claims")),
        ("- id: [", ("claims=paper9.yaml", "is not YAML")),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_allowed(tmp_path, entries, words):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, entries)
    for word in words:
        assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_paper_without_claims_is_refused(tmp_path):
    load(tmp_path, [GOOD])
    with pytest.raises(ConfigError, match=r"paper=7: has no claims; papers that have: 9"):
        verdicts.load(7, tmp_path)


@pytest.mark.parametrize("paper", schema.papers())
def test_the_suites_own_claims_are_read(paper):
    prefix = f"P{paper}" if isinstance(paper, int) else paper[0].upper()
    found = verdicts.load(paper)
    assert found
    places = [re.fullmatch(rf"{prefix}-([CK])(\d+)([a-z]?)", claim.id).groups() for claim in found]
    assert places == sorted(places, key=lambda place: (int(place[1]), place[0], place[2]))
    for claim in found:
        assert claim.check or (claim.fails_if and claim.control), f"{claim.id} does not say what would make it fail"
        assert claim.check or not claim.id.startswith(f"{prefix}-K")
