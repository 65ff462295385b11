import numpy as np
import pandas
import pytest

from src.claims.schema import STATISTICS, Claim, Number, Part
from src.claims.verdicts import judge, load
from src.constraints import Range
from src.report.html import measured
from tests import fabricated


def rows(**columns):
    """Return the final rows of two cells of three members each."""
    frame = pandas.DataFrame({"cell": list("aaabbb"), "member": [0, 1, 2] * 2, "step": 9, "final": True})
    frame["seed"] = frame["member"]
    return frame.assign(experiment="e", converged=True, k=[2, 2, 2, 8, 8, 8], **columns)


def claim_of(*parts, **others):
    texts = dict.fromkeys(("id", "statement", "formula", "source"), "x")
    return Claim(paper=9, experiments=parts[0].experiments, parts=parts, **texts, **others)


def verdict(frame, criterion=Range(high=1.0), *, frames=None, planned=None, **part):  # noqa: B008  no range changes
    quantity = {} if STATISTICS.keys() & part.keys() else {"median": "v"}
    part = Part(**{"name": "it", "experiment": "e", "criterion": criterion} | quantity | part)
    (result,) = judge([claim_of(part)], {"e": frame} if frames is None else frames, planned or {})
    return result


def test_inside_outside_and_across_the_bound():
    spread = rows(v=[0.8, 0.9, 1.0, 0.8, 0.9, 1.0])
    assert verdict(spread, Range(0.5, 1.5)).verdict == "reproduced"
    assert verdict(spread, Range(high=0.3)).verdict == "contradicted"
    across = verdict(spread, Range(high=0.9))
    assert across.verdict == "inconclusive"
    assert across.low < 0.9 < across.high
    assert "straddles" in across.reason
    assert across.cells == ("e/a", "e/b")
    assert (across.n, across.converged) == (6, 1.0)


def test_the_worst_member_decides_where_asked():
    frame = rows(v=[0.1, 0.1, 0.1, 0.1, 0.1, 7.0])
    assert verdict(frame, min="v").verdict == "reproduced"
    worst = verdict(frame, max="v")
    assert (worst.verdict, worst.estimate) == ("contradicted", 7.0)
    assert (worst.low, worst.high) == (0.1, 7.0)  # the range over seeds; it is the worst that decides
    assert worst.reason == "7 is not ≤ 1"


def test_the_worst_group_decides():
    frame = rows(v=[0.1, 0.11, 0.12, 1.5, 1.51, 1.52])
    assert verdict(frame, mean="v").verdict == "reproduced"
    record = verdict(frame, group_by=("k",))
    assert (record.verdict, record.estimate, record.n) == ("contradicted", 1.51, 3)
    assert "k = 8" in record.reason
    assert [group.verdict for group in record.parts[0].groups] == ["reproduced", "contradicted"]


def test_of_good_groups_the_one_nearest_the_bound_is_shown():
    record = verdict(rows(v=[0.1, 0.11, 0.12, 0.9, 0.91, 0.92]), group_by=("k",))
    assert (record.verdict, record.estimate) == ("reproduced", 0.91)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted_never_averaged(bad):
    record = verdict(rows(v=[0.1, bad, 0.1, 0.1, 0.1, 0.1]))
    assert (record.verdict, record.estimate) == ("inconclusive", None)
    assert "1 of 6 values are not finite" in record.reason


def test_too_many_unconverged_members_leave_it_inconclusive():
    frame = rows(v=0.5).assign(converged=[True] * 4 + [False] * 2)
    record = verdict(frame)
    assert (record.verdict, record.estimate) == ("inconclusive", 0.5)
    assert "2 of 6 members have not converged" in record.reason
    assert verdict(frame, require_converged=False).verdict == "reproduced"


def test_what_has_not_been_run_is_not_run():
    assert verdict(None, frames={}).verdict == "not run"
    nothing = verdict(rows(v=0.5), rows="final and k > 100")
    assert (nothing.verdict, nothing.n) == ("not run", 0)
    assert "k > 100" in nothing.reason
    half = verdict(rows(v=0.5), experiment=["e", "other"])
    assert (half.verdict, half.estimate) == ("inconclusive", 0.5)
    assert "other has no finished cell" in half.reason
    assert verdict(rows(v=2.0), experiment=["e", "other"]).verdict == "contradicted"


def test_a_lone_seed_shows_its_number_and_decides_nothing():
    frame = rows(v=0.5).query("member == 0")
    record = verdict(frame)
    assert (record.verdict, record.estimate, record.low) == ("inconclusive", 0.5, None)
    assert "a cell has 1 seed, 3 needed" in record.reason
    assert "spread over seeds is unknown" in verdict(frame, min_seeds=1).reason
    assert verdict(frame, min_seeds=1, group_by=("k",)).estimate == 0.5


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"min_distinct": {"k": 3}}, "2 values of k, 3 needed"),
        ({"min_seeds": 4}, "a cell has 3 seeds, 4 needed"),
        ({"median": "vv"}, "vv was not measured (did you mean 'v'?)"),
        ({"median": "v + cell"}, "cannot be computed"),
        ({"rows": "step >= 0 and kk > 1"}, "kk was not measured"),
        ({"slope": "v", "x": "k - 2"}, "no logarithm"),
        ({"rate": "v", "trials": "0 * k"}, "0 * k is 0"),
    ],
)
def test_what_is_missing_is_the_reason(part, why):
    record = verdict(rows(v=0.5), **part)
    assert record.verdict == "inconclusive"
    assert why in record.reason


def test_several_steps_of_a_member_are_not_several_members():
    frame = pandas.concat([rows(v=0.5), rows(v=0.5).assign(step=1)])
    assert "several steps of one member" in verdict(frame).reason


def test_a_cell_that_two_experiments_share_counts_once():
    one, other = rows(v=0.5), rows(v=0.5).assign(experiment="f", cell=["k8-a"] * 3 + ["c"] * 3)
    record = verdict(None, frames={"e": one, "f": other}, experiment=["e", "f"])
    assert (record.n, record.cells) == (9, ("e/a", "e/b", "f/c"))


def test_two_losses_passed_in_one_step_are_two_rows():
    frame = pandas.concat([rows(v=0.5, matched=0.1).assign(final=False), rows(v=0.5, matched=0.01)])
    assert [verdict(frame, rows=f"matched == {loss}").n for loss in (0.1, 0.01)] == [6, 6]


def test_slope_rate_ratio_and_fraction():
    power = rows(v=3 * np.array([2, 2, 2, 8, 8, 8.0]) ** 0.5)
    assert verdict(power, slope="v", x="k").estimate == pytest.approx(0.5)
    rate = verdict(rows(v=[0, 0, 1, 0, 0, 2], points=100), rate="v", trials="points")
    assert rate.estimate == pytest.approx(3 / 600)
    assert rate.low < 3 / 600 < rate.high
    ratio = verdict(power, ratio="v", rows="k == 8", baseline="k == 2")
    assert ratio.estimate == ratio.low == ratio.high == pytest.approx(2)
    share = verdict(rows(v=[1, 2, 3, 4, 5, 6]), fraction="v > 1")
    assert share.estimate == pytest.approx(5 / 6)
    assert share.low < 5 / 6 < share.high < 1


def test_a_fraction_is_as_sure_as_its_seeds_are_many():
    """The end for five of five is 48 % (0.48⁵ = 2.5 %), also for several cells with the same seeds."""
    five = pandas.DataFrame({"member": range(5), "seed": range(5), "step": 9, "final": True, "converged": True, "v": 1})
    cells = [five.assign(cell=name, experiment="e") for name in "abcd"]
    share = verdict(cells[0], Range(low=1), fraction="v")
    assert (share.estimate, share.low, share.high) == (1, pytest.approx(0.025 ** (1 / 5)), 1)
    assert share.verdict == "inconclusive"
    assert verdict(pandas.concat(cells), fraction="v").low == share.low


def test_worst_cases_count_the_seeds_in_which_they_hold():
    frame = rows(v=[3.0, 0.5, 2.0, 1.0, 1.0, 0.0])
    worst = verdict(frame, Range(low=1), worst_vs_best="v", rows="k == 2", baseline="k == 8")
    assert (worst.verdict, worst.estimate, worst.seeds_held, worst.seeds) == ("contradicted", 0.5, 2, 3)
    assert (worst.low, worst.high) == (0.5, 3.0)  # the last seed, whose ratio is infinite, meets the criterion


def test_one_of_many_groups_outside_the_criterion_may_be_chance():
    frame = rows(v=[1.06, 1.07, 1.08, 0.9, 0.91, 0.92])
    bound = Range(high=verdict(frame.query("k == 2")).low - 0.001)
    assert verdict(frame.query("k == 2"), bound).verdict == "contradicted"
    among_two = verdict(frame, bound, group_by=("k",))
    assert among_two.verdict == "inconclusive" and "chance" in among_two.reason
    assert verdict(frame, Range(high=0.95), group_by=("k",)).verdict == "contradicted"


def test_a_seed_given_twice_is_no_replicate():
    """A cell can have duplicate seeds if each member has its own learning rate."""
    record = verdict(rows(v=[0.1, 0.1, 0.1, 0.2, 0.2, 0.2], seed=0))
    assert record.verdict == "inconclusive" and "duplicate seeds" in record.reason


def test_a_cell_of_two_experiments_counts_once():
    once = rows(v=[0.1, 0.5, 0.9] * 2)
    record = verdict(pandas.concat([once, once.assign(experiment="another")]), mean="v")
    assert record.n == 6
    alone = verdict(once, mean="v")
    assert (record.estimate, record.low, record.high) == (alone.estimate, alone.low, alone.high)


def test_a_ratio_and_its_inverse_say_the_same():
    """The interval of a ratio of positive numbers comes from its logarithm."""
    frame = rows(v=[1.0, 1.4, 1.1, 3.0, 2.6, 4.5])
    for statistic in ("ratio", "paired_ratio"):
        one, other = (
            verdict(frame, **{statistic: "v"}, rows=f"k == {of}", baseline=f"k == {to}") for of, to in ((2, 8), (8, 2))
        )
        assert 0 < one.low < one.estimate < one.high
        for end, opposite in (("low", "high"), ("estimate", "estimate"), ("high", "low")):
            assert getattr(one, end) == pytest.approx(1 / getattr(other, opposite), rel=0.03)


def test_cells_that_share_their_seeds_are_no_more_sure_than_one_of_them():
    """A second cell with the same deviations per seed does not narrow the interval."""
    one, same = rows(v=[0.8, 0.9, 1.0, 7.0, 7.0, 7.0]), rows(v=[0.8, 0.9, 1.0] * 2)
    alone, swept = verdict(one, rows="k == 2", mean="v"), verdict(same, mean="v")
    assert swept.high - swept.low == pytest.approx(alone.high - alone.low, rel=0.05)
    others = verdict(same.assign(seed=range(6)), mean="v")
    assert others.high - others.low < 0.6 * (swept.high - swept.low)


def test_missing_cells_leave_it_inconclusive():
    """The remaining cells of a sweep may be the successful ones."""
    good, bad = rows(v=0.5), rows(v=2.0)
    assert verdict(good, planned={"e": 2}).verdict == "reproduced"
    record = verdict(good, planned={"e": 5})
    assert (record.verdict, record.estimate) == ("inconclusive", 0.5)
    assert record.reason == "3 of 5 cells of e are missing"
    assert verdict(bad, planned={"e": 5}).verdict == "contradicted"
    few = verdict(good, planned={"e": 3}, min_distinct={"k": 3})
    assert few.reason == "2 values of k, 3 needed; 1 of 3 cells of e is missing"
    other = rows(v=0.5).assign(experiment="f", cell=list("cccddd"))
    both = {"frames": {"e": good, "f": other}, "experiment": ["e", "f"]}
    assert verdict(None, **both, planned={"e": 2, "f": 2}).verdict == "reproduced"
    assert "1 of 3 cells of f is missing" in verdict(None, **both, planned={"e": 2, "f": 3}).reason


def test_members_without_a_row_where_the_part_looks_leave_it_inconclusive():
    early = rows(v=0.5).assign(step=3, final=False)
    ended = pandas.concat([rows(v=0.5), early])
    assert verdict(ended, rows="step == 3").verdict == "reproduced"
    stopped = ended[(ended["step"] != 3) | (ended["k"] == 2)]
    record = verdict(stopped, rows="step == 3")
    assert (record.verdict, record.reason) == ("inconclusive", "3 of 6 members have no row with step == 3")
    assert verdict(stopped, rows="step == 3 and k == 2").verdict == "reproduced"
    assert "have no row" in verdict(stopped, rows="step in [3, 9]", group_by=("step",)).reason
    chosen_by_what_they_did = verdict(stopped.assign(w=stopped.step), rows="step == 3 and w < 9")
    assert chosen_by_what_they_did.verdict == "reproduced"
    versus = verdict(stopped, rows="step == 9", baseline="step == 3", ratio="v")
    assert versus.reason == "3 of 6 members have no row with step == 3"


def test_members_that_do_not_reach_a_loss_leave_it_inconclusive_unless_that_is_allowed():
    reached = rows(v=0.5, matched=0.1).query("k == 2 or seed < 2").assign(step=3, final=False)
    frame = pandas.concat([rows(v=0.5), reached])
    part = {"rows": "matched == 0.1", "min_seeds": 2}
    record = verdict(frame, **part)
    assert (record.verdict, record.reason) == ("inconclusive", "1 of 6 members have no row with matched == 0.1")
    assert verdict(frame, **part, require_rows=False).verdict == "reproduced"
    further = pandas.concat([frame, rows(v=0.5, matched=0.01).assign(step=4, final=False)])
    assert verdict(further, rows="matched <= 0.1", max="v").verdict == "reproduced"
    assert "have no row" in verdict(further, rows="matched <= 0.1", max="v", group_by=("matched",)).reason


def test_a_paired_ratio_does_not_feel_how_seeds_differ():
    frame = rows(v=[10.0, 1.0, 100.0, 5.0, 0.5, 50.5])
    halved = {"rows": "k == 8", "baseline": "k == 2", "criterion": Range(0.49, 0.52)}
    unpaired = verdict(frame.assign(seed=range(6)), ratio="v", **halved)
    assert (unpaired.verdict, unpaired.estimate) == ("inconclusive", 0.5)
    paired = verdict(frame, paired_ratio="v", **halved)
    assert (paired.verdict, paired.estimate) == ("reproduced", 0.5)
    assert paired.low < paired.high


def test_best_and_worst_over_the_best_are_those_of_the_worst_seed():
    frame = rows(v=[3.0, 4.0, 6.0, 1.0, 2.0, 4.0], seed=[0, 1, 2] * 2)  # k = 2 leads k = 8 by 3, 2 and 1.5
    lead = verdict(frame, Range(low=1.5), best_vs_best="v", rows="k == 2", baseline="k == 8")
    assert (lead.verdict, lead.estimate) == ("reproduced", 1.5)
    above = verdict(frame, Range(low=1.6), best_vs_best="v", rows="k == 2", baseline="k == 8")
    assert (above.verdict, above.low, above.high) == ("contradicted", 1.5, 3)
    more = pandas.concat([frame, rows(v=2.5, seed=[0, 1, 2] * 2).query("k == 2").assign(cell="c")])
    assert verdict(more, best_vs_best="v", rows="k == 2", baseline="k == 8").estimate == 1.5
    assert verdict(more, worst_vs_best="v", rows="k == 2", baseline="k == 8").estimate == 2.5 / 4
    assert verdict(frame.assign(v=-1.0), best_vs_best="v", rows="k == 2", baseline="k == 8").estimate == 0
    alone = verdict(frame.query("k == 2 or seed > 0"), best_vs_best="v", rows="k == 2", baseline="k == 8")
    assert (alone.verdict, alone.reason) == ("inconclusive", "a seed has no baseline to compare with")


def test_a_part_says_what_converged_means():
    frame = rows(v=0.5, kappa=[0.9, 0.9, 0.9, 0.9, 0.9, 0.1]).assign(converged=False)
    assert "6 of 6 members have not converged" in verdict(frame).reason
    assert "1 of 6 members have not converged" in verdict(frame, converged="kappa >= 0.6").reason
    assert verdict(frame, converged="kappa > 0").verdict == "reproduced"
    assert "was not measured" in verdict(frame, converged="kapa > 0").reason


def test_a_number_to_report_does_not_count():
    good = Part(name="good", median="v", experiment="e", criterion=Range(high=1.0))
    for quantity, reason in (("v", ""), ("vv", "vv was not measured (did you mean 'v'?)")):
        claim = claim_of(good, reports=(Number(name="reported", median=quantity, experiment="e"),))
        (result,) = judge([claim], {"e": rows(v=0.5)})
        assert (result.verdict, result.name) == ("reproduced", "good")
        assert [number.verdict for number in result.numbers] == ["reproduced", "informational"]
        assert result.reports[0].reason == reason


@pytest.mark.parametrize(
    ("bound", "word"), [(2.0, "passed"), (0.1, "failed"), (0.9, "inconclusive")], ids=lambda value: str(value)
)
def test_a_check_of_the_code_is_never_reproduced(bound, word):
    part = Part(name="it", median="v", experiment="e", criterion=Range(high=bound))
    (result,) = judge([claim_of(part, check=True)], {"e": rows(v=[0.8, 0.9, 1.0] * 2)})
    assert (result.check, result.verdict) == (True, word)


def test_resamples_derive_from_the_place_of_a_number_or_from_its_key():
    draws = np.random.default_rng(0).normal(size=(5, 6))
    frame = pandas.concat([rows(v=v).assign(cell=str(i)) for i, v in enumerate(draws)])
    frame = frame.assign(member=range(30), seed=range(30))
    here, there = (Part(name=name, mean="v", experiment="e", criterion=Range(high=2.0)) for name in "ab")
    first, second = judge([claim_of(here, there)], {"e": frame})[0].parts
    assert first.low != second.low
    moved = there.model_copy(update={"rng_key": 0})
    assert judge([claim_of(here, moved)], {"e": frame})[0].parts[1].low == first.low


def test_a_claim_is_as_good_as_its_worst_part():
    def part(bound, experiment="e"):
        return Part(name=str(bound), median="v", experiment=experiment, criterion=Range(high=bound))

    def record(*parts):
        return judge([claim_of(*parts)], {"e": rows(v=[0.8, 0.9, 1.0, 0.8, 0.9, 1.0])})[0]

    inside, across, outside, missing = part(2.0), part(0.9), part(0.1), part(3.0, "other")
    assert record(inside, across, outside).verdict == "contradicted"
    assert record(inside, across, outside).name == "0.1"
    assert record(inside, across, missing).verdict == "inconclusive"
    assert record(inside, missing).verdict == "inconclusive"
    assert record(missing).verdict == "not run"


@pytest.fixture(scope="module")
def closed_forms(tmp_path_factory):
    return fabricated.frames(fabricated.paper1(tmp_path_factory.mktemp("outputs")))


def test_paper1_is_reproduced_by_networks_that_are_the_closed_forms(closed_forms):
    claims = load(1)
    expected = {claim.id: "passed" if claim.check else "reproduced" for claim in claims}
    assert {record.id: record.verdict for record in judge(claims, closed_forms)} == expected


@pytest.mark.parametrize(
    ("experiment", "columns", "fails"),
    [
        ("cluster_literal", {"test_errors": 30}, "P1-C1"),
        ("cluster_k_scaling", {"z_r50": 90.0}, "P1-C2"),
        ("cluster_joint_scaling", {"attack_median": 20.0}, "P1-C3"),
        ("cluster_joint_scaling", {"robust_attack_median": 20.0}, "P1-C3"),
        ("cluster_k_scaling", {"z_r50": 110.0}, "P1-C4"),
        ("cluster_attacks", {"gaussian_flip": 0.02}, "P1-C5"),
        ("cluster_attacks", {"z_flip": 0.98}, "P1-C5"),
        ("cluster_d_scaling", {"certificate_violations": 1}, "P1-K6"),
        ("cluster_d_scaling", {"certificate_over_attack": 0.7}, "P1-C6"),
        ("cluster_d_scaling", {"attack_unflipped": 1}, "P1-C6"),
        ("cluster_d_scaling", {"robust_test_errors": 1}, "P1-C7"),
        ("cluster_k_scaling", {"robust_attack_median": 181.0, "attack_median": 181.0}, "P1-C8"),
        ("cluster_k_scaling", {"kkt_residual": 0.02}, "P1-C9"),
        ("cluster_k_scaling", {"kkt_residual_clarke": 0.02}, "P1-C9"),
        ("cluster_width", {"test_errors": 1}, "P1-C10"),
        ("cluster_balance", {"z_r50": 13.0}, "P1-C11"),
        ("cluster_robust_start", {"attack_median": 45.0}, "P1-C12"),
        ("cluster_groups", {"attack_median": 16.0}, "P1-C12"),
        ("cluster_groups", {"attack_median": 24.0}, "P1-C18"),
        ("cluster_groups", {"test_errors": 1}, "P1-C18"),
        ("cluster_correlation", {"z_r50": 22.6}, "P1-C13"),
        ("cluster_attacks", {"pgd40_flip": 1.0}, "P1-C14"),
        ("cluster_trainers", {"margin_ratio": 0.9}, "P1-C16"),
        ("cluster_width", {"test_errors": 1}, "P1-C17"),
        ("cluster_literal", {"harmful_test_errors": 500}, "P1-C17"),
        ("cluster_width", {"harmful_margin": 1.0}, "P1-C17"),
    ],
)
def test_every_claim_of_paper1_can_fail(closed_forms, experiment, columns, fails):
    (claim,) = (claim for claim in load(1) if claim.id == fails)
    other = closed_forms | {experiment: closed_forms[experiment].assign(**columns)}
    (record,) = judge([claim], other)
    assert record.verdict == ("failed" if claim.check else "contradicted"), record.reason


def test_an_interval_without_an_end_is_a_reason():
    """Zeros in the denominator of some resamples: the interval has no finite end."""
    frame = rows(v=[1.0, 2.0, 3.0, 0.0, 0.0, 3.0]).assign(v=[3.0, 3.0, 3.0, 0.0, 3.0, 3.0])
    record = verdict(frame, ratio="v", rows="k == 2", baseline="k == 8")
    assert (record.verdict, record.estimate, record.low, record.high) == ("inconclusive", 1.0, None, None)
    assert "the interval is not finite" in record.reason
    assert measured(record) == "1"
