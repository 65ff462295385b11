"""The claims of a paper as they stand in ``conf/claims/paperN.yaml``, read and checked. No torch here.

A claim has parts. A part names a number, a pandas expression over the rows of an experiment (``value``, taken of
the rows ``where`` selects), a ``statistic`` of it over members, and a ``criterion`` the number must meet. A part whose
criterion is null is told and does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from src.claims.yaml_entries import check_keys, read_entries, text, words
from src.constraints import Range
from src.errors import ConfigError, nearest

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "claims"

STATISTICS = {
    "median": "median over members",
    "mean": "mean over members",
    "min": "smallest member",
    "max": "largest member",
    "share": "share of members for which it holds",
    "slope": "log–log least-squares slope",
    "r2": "R² of the least-squares line through the means",
    "intercept": "intercept of that line as a share of its largest value",
    "rate": "pooled rate",
    "ratio": "ratio of medians",
    "paired": "median over seeds of the ratio within a seed",
    "lead": "best row over the best of the others, in the worst seed",
    "clearance": "worst row over the best of the others, in the worst seed",
}
WORST = ("min", "max", "lead", "clearance")
"""Facts about the networks at hand, decided by the worst of them; the others are inferred, with an interval."""
COMPANIONS = dict.fromkeys(("slope", "r2", "intercept"), "against") | {"rate": "of"}
COMPANIONS |= dict.fromkeys(("ratio", "paired", "lead", "clearance"), "versus")
"""What a statistic needs beside ``value``: the abscissa, the number of trials, the rows it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number of a claim.

    Attributes:
        says: the number in plain words.
        value: pandas expression over columns, e.g. ``z_r50 / (data_d / data_k)**0.5``; errors for a ``rate``.
        statistic: one of ``STATISTICS``.
        where: pandas condition that selects rows; ``final`` are the rows at the end of training.
        experiments: whose rows are read, together.
        against: abscissa of a ``slope`` or of a line (``r2``, ``intercept``).
        of: number of trials of a ``rate``.
        versus: condition selecting the rows that a ratio is relative to or a lead is held over.
        each: columns; the number is taken in every group of equal values, and the worst group decides.
        criterion: closed range the number must lie in, or None: told only.
        needs: how many distinct values of a column the rows must have, ``{"data_k": 4}``.
        members: how many members, of different seeds, every cell must have.
        converged: pandas condition that says which members have converged; a claim may give it for all its parts.
        needs_converged: whether too many unconverged members leave the part undecided.
    """

    says: str
    value: str
    statistic: str = "median"
    where: str = "final"
    experiments: tuple[str, ...]
    against: str | None = None
    of: str | None = None
    versus: str | None = None
    each: tuple[str, ...] = ()
    criterion: Range | None = None
    needs: Mapping[str, int] = field(default_factory=dict)
    members: int = 3
    converged: str = "converged"
    needs_converged: bool = True

    @property
    def beside(self) -> str:
        """What the statistic needs beside ``value``, e.g. ``against data_d / data_k``; empty if nothing."""
        companion = COMPANIONS.get(self.statistic)
        return f"{companion} {getattr(self, companion)}" if companion else ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of a paper; ``source`` says where it stands and how sure its wording and constants are."""

    id: str
    paper: int
    statement: str
    formula: str
    source: str
    experiments: tuple[str, ...]
    published: str | None = None
    parts: tuple[Part, ...]


def papers(folder: Path = FOLDER) -> list[int]:
    """The numbers of the papers that have claims."""
    return sorted(int(path.stem.removeprefix("paper")) for path in folder.glob("paper*.yaml"))


def load(paper: int, folder: Path = FOLDER) -> list[Claim]:
    """The claims of a paper.

    Raises:
        ConfigError: naming the entry that is missing, unknown or not allowed, with the nearest known word.
    """
    path = folder / f"paper{paper}.yaml"
    if not path.exists():
        known = sorted(file.stem.removeprefix("paper") for file in folder.glob("paper*.yaml"))
        raise ConfigError("paper", paper, f"has no claims; papers that have: {', '.join(known) or 'none'}")
    entries = read_entries(path, "claims")
    return [_claim(entry, paper, f"{path.stem}[{index}]") for index, entry in enumerate(entries)]


def shown(criterion: Range | None) -> str:
    """The criterion as people read it.

    >>> shown(Range(0.45, 0.55)), shown(Range(high=2e-3)), shown(None)
    ('in [0.45, 0.55]', '≤ 0.002', 'told only')
    """
    if criterion is None:
        return "told only"
    if criterion.low is not None and criterion.high is not None:
        return f"in [{criterion.low:g}, {criterion.high:g}]"
    return f"≥ {criterion.low:g}" if criterion.low is not None else f"≤ {criterion.high:g}"


def _claim(entry: dict[str, Any], paper: int, place: str) -> Claim:
    place = str(entry.get("id", place))
    known = {"id", "statement", "formula", "source", "experiment", "published", "converged", "parts"}
    check_keys(entry, known, known - {"published", "converged"}, place)
    texts = {key: text(entry[key], f"{place}.{key}") for key in ("id", "statement", "formula", "source")}
    experiments = words(entry["experiment"], f"{place}.experiment")
    published = entry.get("published")
    if not isinstance(entry["parts"], list) or not entry["parts"]:
        raise ConfigError(f"{place}.parts", entry["parts"], "must be a list of at least one part")
    shared = {"converged": entry["converged"]} if "converged" in entry else {}
    parts = [shared | part if isinstance(part, dict) else part for part in entry["parts"]]
    parts = tuple(read_part(part, experiments, f"{place}.parts[{i}]") for i, part in enumerate(parts))
    if all(part.criterion is None for part in parts):
        raise ConfigError(f"{place}.parts", "all told only", "one part at least needs a criterion")
    return Claim(
        **texts,
        paper=paper,
        experiments=experiments,
        published=None if published is None else text(published, f"{place}.published"),
        parts=parts,
    )


def read_part(entry: Any, experiments: tuple[str, ...], place: str) -> Part:
    """The part a mapping says; its rows are those of ``experiments`` unless it names its own.

    Raises:
        ConfigError: naming what is missing, unknown or not allowed; ``place`` is where the mapping stands.
    """
    if not isinstance(entry, dict):
        raise ConfigError(place, entry, "must be a mapping with the keys says, value and criterion")
    known = {"experiment"} | {each.name for each in fields(Part)} - {"experiments"}
    check_keys(entry, known, {"says", "value", "criterion"}, place)
    checked: dict[str, Any] = {"says": text(entry["says"], f"{place}.says"), "experiments": experiments}
    for key in ("value", "where", "against", "of", "versus", "converged"):
        if key in entry:
            checked[key] = _expression(entry[key], f"{place}.{key}")
    if "experiment" in entry:
        checked["experiments"] = words(entry["experiment"], f"{place}.experiment")
    if "each" in entry:
        checked["each"] = words(entry["each"], f"{place}.each")
    checked["criterion"] = _criterion(entry["criterion"], f"{place}.criterion")
    checked["needs"] = needs = entry.get("needs", {})
    if not isinstance(needs, dict) or not all(_is_count(count) for count in needs.values()):
        raise ConfigError(f"{place}.needs", needs, "must map columns to how many values of them are needed")
    if not _is_count(entry.get("members", 1)):
        raise ConfigError(f"{place}.members", entry["members"], "must be a whole number >= 1")
    if not isinstance(entry.get("needs_converged", True), bool):
        raise ConfigError(f"{place}.needs_converged", entry["needs_converged"], "must be true or false")
    checked |= {key: entry[key] for key in ("statistic", "members", "needs_converged") if key in entry}
    part = Part(**checked)

    if part.statistic not in STATISTICS:
        allowed = f"unknown{nearest(str(part.statistic), STATISTICS)}; known: {', '.join(STATISTICS)}"
        raise ConfigError(f"{place}.statistic", part.statistic, allowed)
    for companion in set(COMPANIONS.values()):
        takers = [statistic for statistic, needed in COMPANIONS.items() if needed == companion]
        if (part.statistic in takers) != (getattr(part, companion) is not None):
            allowed = f"goes with statistic: {', '.join(takers)}"
            raise ConfigError(f"{place}.{companion}", getattr(part, companion), allowed)
    return part


def _criterion(entry: Any, place: str) -> Range | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ConfigError(place, entry, "must be null or one of between: [a, b], at_least: a, at_most: b")
    ((kind, bound),) = entry.items()
    known = {"between", "at_least", "at_most"}
    if kind not in known:
        raise ConfigError(f"{place}.{kind}", bound, f"unknown{nearest(str(kind), known)}; known: {', '.join(known)}")
    if kind == "between":
        if not (isinstance(bound, list) and len(bound) == 2 and all(map(_is_number, bound)) and bound[0] <= bound[1]):
            raise ConfigError(f"{place}.between", bound, "must be two numbers, the smaller one first")
        return Range(float(bound[0]), float(bound[1]))
    if not _is_number(bound):
        raise ConfigError(f"{place}.{kind}", bound, "must be a number (YAML reads 1e-3 as text: write 0.001)")
    return Range(low=float(bound)) if kind == "at_least" else Range(high=float(bound))


def _expression(value: Any, place: str) -> str:
    expression = text(value, place)
    try:
        ast.parse(expression, mode="eval")
    except SyntaxError as error:
        raise ConfigError(place, expression, f"is not an expression: {error.msg}") from error
    return expression


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
