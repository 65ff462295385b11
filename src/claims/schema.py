"""Read the claims of a paper, ``conf/claims/paperN.yaml`` or ``bridges.yaml``, as typed models. No torch here.

A file has the list ``claims`` and, above it, shared sets of rows and tables::

    rows: {at_end: final and kappa_own >= 0.6}                                  # sets of rows, by name
    norms: {l2: {title: ℓ2, optimizers: [ngd, nmd]}, msp: {title: msp, optimizers: [muon]}}        # a table

- In ``rows:`` and ``baseline:`` the name of a set is replaced by its condition: ``rows: at_end and data_k > 2``.
- A number with ``for: norm`` is repeated for every entry of the table ``norms``, in order. In its texts ``{norm}`` is
  the name of the entry, and ``{title}`` and ``{optimizers}`` are values of the entry.
- ``for: {norm: [l2, msp]}`` uses these entries only; ``for: {layer: [1, 2, 3]}`` uses values without a table.
- ``rows``, ``converged``, ``min_distinct``, ``min_seeds``, ``require_converged`` and ``require_rows`` of a claim are
  defaults of its parts. Numbers of ``report:`` inherit the first two only. A file may set ``converged`` for all its
  claims.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, model_validator

from src.claims.yaml_entries import Count, Expression, Model, Names, Text, check_entries, expression, line, parse
from src.config import yaml_files
from src.config.papers import Paper, file_name, from_name, in_order
from src.constraints import Range
from src.errors import ConfigError, nearest

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "claims"

STATISTICS = {
    "median": "median over members",
    "mean": "mean over members",
    "min": "smallest member",
    "max": "largest member",
    "fraction": "fraction of members for which it holds",
    "slope": "log–log least-squares slope",
    "x_where_one": "x at which the log–log line is 1",
    "r2": "R² of the least-squares line through the means",
    "intercept": "intercept of that line over its value at the largest x",
    "rate": "pooled rate",
    "ratio": "ratio of medians",
    "paired_ratio": "median over seeds of the ratio within a seed",
    "best_vs_best": "best row over the best of the baseline, in the worst seed",
    "worst_vs_best": "worst row over the best of the baseline, in the worst seed",
}
WORST = ("min", "max", "best_vs_best", "worst_vs_best")
"""Worst-case statistics, which describe the networks that were run; all others have a confidence interval."""
COMPANIONS = dict.fromkeys(("slope", "x_where_one", "r2", "intercept"), "x") | {"rate": "trials"}
COMPANIONS |= dict.fromkeys(("ratio", "paired_ratio", "best_vs_best", "worst_vs_best"), "baseline")
"""Statistic → the second key that it needs."""
RENAMED = {"says": "name", "value": "the statistic", "where": "rows", "versus": "baseline", "of": "trials"}
RENAMED |= {"against": "x", "each": "group_by", "needs": "min_distinct", "members": "min_seeds"}
RENAMED |= {"needs_converged": "require_converged"}
FOR_ALL = ("rows", "converged")
FOR_PARTS = (*FOR_ALL, "min_distinct", "min_seeds", "require_converged", "require_rows")
"""Keys of a claim that its numbers inherit."""


def _criterion(entry: object) -> Range:
    if isinstance(entry, Range):
        return entry
    kind, bound = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else ("?", None)
    given = bound if isinstance(bound, list) else [bound]
    ends = [float(end) for end in given if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) == len(given):
        if kind == "between" and len(ends) == 2 and ends[0] <= ends[1]:
            return Range(ends[0], ends[1])
        if kind in ("at_least", "at_most") and len(ends) == 1:
            return Range(low=ends[0]) if kind == "at_least" else Range(high=ends[0])
    hint = nearest(str(kind), ("between", "at_least", "at_most"))
    allowed = f"must be at_least: a, at_most: b or between: [a, b] with a <= b{hint}"
    raise ValueError(f"{allowed} (YAML reads 1e-3 as text: write 0.001)")


class Number(Model):
    """A number to report. In YAML the statistic is a key, ``median: gamma_l2``.

    Attributes:
        name: description in words.
        statistic: one of ``STATISTICS``.
        quantity: expression, e.g. ``z_r50 / (data_d / data_k)**0.5``; number of errors for a ``rate``.
        rows: condition that selects rows; ``final`` are the rows at the end of training.
        baseline: condition that selects the rows of the comparison.
        x: abscissa of a ``slope`` or of a line (``r2``, ``intercept``).
        trials: number of trials of a ``rate``.
        group_by: columns; there is one estimate per group of equal values, and the worst group decides.
        experiments: names of the experiments with the rows.
        converged: condition for a converged member.
        min_distinct: minimum number of distinct values of a column, ``{"data_k": 4}``.
        require_rows: whether nothing counts as reproduced if a member has no row where the others have one.
        rng_key: index that seeds the bootstrap; by default the place of the number in its claim.
    """

    name: Text
    statistic: str
    quantity: Expression
    rows: Expression = "final"
    baseline: Expression | None = None
    x: Expression | None = None
    trials: Expression | None = None
    group_by: Names = ()
    experiments: Names = Field(alias="experiment")
    converged: Expression = "converged"
    min_distinct: dict[str, Count] = Field({})
    require_rows: bool = True
    rng_key: int | None = None

    DERIVED: ClassVar = ("statistic", "quantity")

    @model_validator(mode="before")
    @classmethod
    def _by_statistic(cls, entry: dict[str, object]) -> dict[str, object]:
        if old := [key for key in entry if key in RENAMED]:
            raise ConfigError(old[0], entry[old[0]], f"is now called {RENAMED[old[0]]}")
        named = [key for key in entry if key in STATISTICS]
        if len(named) != 1 or {"statistic", "quantity"} & entry.keys():
            hint = "".join(nearest(str(key), STATISTICS) for key in entry if key not in (*cls.model_fields, *named))
            raise ConfigError("statistic", named or "?", f"must be one key of {', '.join(STATISTICS)}{hint}")
        others = {key: value for key, value in entry.items() if key not in named}
        return others | {"statistic": named[0], "quantity": entry[named[0]]}

    @model_validator(mode="after")
    def _has_companion(self) -> Number:
        for companion in dict.fromkeys(COMPANIONS.values()):
            takers = [statistic for statistic, needed in COMPANIONS.items() if needed == companion]
            if (self.statistic in takers) != (getattr(self, companion) is not None):
                raise ConfigError(companion, getattr(self, companion), f"goes with {', '.join(takers)}")
        return self

    @property
    def companion(self) -> str:
        """The second expression of the statistic, e.g. ``x: data_d / data_k``; or empty."""
        key = COMPANIONS.get(self.statistic)
        return f"{key}: {getattr(self, key)}" if key else ""


class Part(Number):
    """A number with the criterion that its claim must meet.

    Attributes:
        criterion: closed range for the number.
        min_seeds: minimum number of different seeds in every cell.
        require_converged: whether too many unconverged members make the part inconclusive.
    """

    criterion: Annotated[Range, PlainValidator(_criterion)]
    min_seeds: Count = 3
    require_converged: bool = True


class Claim(Model):
    """A statement of a paper; ``source`` has its place, and whether wording and constants are verified.

    ``fails_if`` says which result would contradict it, and ``control`` which run shows that such a result is possible.
    ``parts`` are judged, the numbers of ``reports`` are not. A ``check`` tests the code instead of the theory: it is
    listed apart and never counts as reproduced.
    """

    id: Text
    paper: Paper
    statement: Text
    formula: Text
    source: Text
    experiments: Names = Field(alias="experiment")
    published: Text | None = None
    fails_if: Text | None = None
    control: Text | None = None
    check: bool = False
    parts: tuple[Part, ...]
    reports: tuple[Number, ...] = Field((), alias="report")

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The parts, then the numbers to report."""
        return self.parts + self.reports

    def without_minimum(self) -> Claim:
        """Return the claim without ``min_distinct``, to measure its numbers on any grid."""
        parts = tuple(part.model_copy(update={"min_distinct": {}}) for part in self.parts)
        reports = tuple(number.model_copy(update={"min_distinct": {}}) for number in self.reports)
        return self.model_copy(update={"parts": parts, "reports": reports})


def papers(folder: Path = FOLDER) -> list[Paper]:
    """Return the papers that have claims, in order."""
    return in_order(from_name(path.stem) for path in folder.glob("*.yaml"))


def load(paper: Paper, folder: Path = FOLDER) -> list[Claim]:
    """Return the claims of a paper.

    Raises:
        ConfigError: naming the entry that is missing, unknown or not allowed, with the nearest known word.
    """
    path = folder / f"{file_name(paper)}.yaml"
    if not path.exists():
        known = ", ".join(map(str, papers(folder)))
        new = f"a new one needs conf/claims/{path.name}, unless an experiment runs with paper=null"
        raise ConfigError("paper", paper, f"has no claims; papers that have: {known or 'none'}; {new}")
    return read(path)


def read(path: Path) -> list[Claim]:
    """Return the claims of a file, which is named after its paper."""
    head = dict(yaml_files.read(path, "claims", dict, "a mapping with the list claims"))
    entries = head.pop("claims", None)
    check_entries(entries, "claims", path)
    sets = _row_sets(head.pop("rows", {}), f"{path.stem}.rows")
    converged = {"converged": head.pop("converged", "converged")}
    for name, table in head.items():
        if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
            raise ConfigError(f"{path.stem}.{name}", table, "must be rows, claims or a table, entry → mapping")
    places = [str(entry.get("id", f"{path.stem}[{index}]")) for index, entry in enumerate(entries)]
    entries = [converged | entry for entry in entries]
    return [
        _claim(entry, from_name(path.stem), sets, head, place) for entry, place in zip(entries, places, strict=True)
    ]


def shown(criterion: Range | None) -> str:
    """Return the criterion as text.

    >>> shown(Range(0.45, 0.55)), shown(Range(high=2e-3)), shown(None)
    ('in [0.45, 0.55]', '≤ 0.002', 'none')
    """
    if criterion is None:
        return "none"
    if criterion.low is not None and criterion.high is not None:
        return f"in [{criterion.low:g}, {criterion.high:g}]"
    return f"≥ {criterion.low:g}" if criterion.low is not None else f"≤ {criterion.high:g}"


def _claim(
    entry: Mapping[str, Any], paper: Paper, sets: Mapping[str, str], tables: Mapping[str, Any], place: str
) -> Claim:
    numbers: dict[str, Any] = {}
    for key, kind, inherited in (("parts", Part, FOR_PARTS), ("report", Number, FOR_ALL)):
        if key not in entry:
            continue
        blocks = entry[key]
        if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
            raise ConfigError(f"{place}.{key}", blocks, "must be a list of at least one mapping")
        shared = {name: entry[name] for name in ("experiment", *inherited) if name in entry}
        numbers[key] = []
        for index, block in enumerate(blocks):
            where = f"{place}.{key}[{index}]"
            for number in _expanded(block, tables, where):
                number = shared | number
                number |= {name: _refined(number[name], sets) for name in ("rows", "baseline") if name in number}
                numbers[key].append(parse(kind, number, where, also=STATISTICS))
    fields = {name: value for name, value in entry.items() if name not in FOR_PARTS}
    fields |= {"paper": paper} | {key: tuple(values) for key, values in numbers.items()}
    return parse(Claim, fields, place, also=FOR_PARTS)


def _expanded(block: Mapping[str, Any], tables: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """Return the block once per value of its ``for``, or once without ``for``."""
    if "for" not in block:
        return [dict(block)]
    loop, tables_of = block["for"], {name.removesuffix("s"): table for name, table in tables.items()}
    if isinstance(loop, str) and loop in tables_of:
        loop = {loop: list(tables_of[loop])}
    if not (isinstance(loop, dict) and len(loop) == 1 and all(isinstance(values, list) for values in loop.values())):
        known = f"{nearest(str(loop), tables_of)}; tables: {', '.join(tables) or 'none'}"
        raise ConfigError(f"{place}.for", loop, f"must be a table without its last s, or name: [values]{known}")
    ((name, values),) = loop.items()
    expanded = []
    for value in values:
        words = {name: value} | tables_of.get(name, {}).get(value, {})
        texts = {key: text for key, text in block.items() if key != "for"}
        for key, text in texts.items():
            try:
                texts[key] = text.format(**words) if isinstance(text, str) else text
            except (LookupError, ValueError) as error:
                allowed = f"unknown name {error} in braces; known: {', '.join(words)}"
                raise ConfigError(f"{place}.{key}", text, allowed) from error
        expanded.append(texts)
    return expanded


def _row_sets(entry: object, place: str) -> dict[str, str]:
    """Return the conditions of the named sets; a set may use the sets above it."""
    if not isinstance(entry, dict):
        raise ConfigError(place, entry, "must be a mapping, name → condition")
    sets: dict[str, str] = {}
    for name, condition in entry.items():
        try:
            sets[name] = expression(line(_refined(condition, sets)))
        except ValueError as error:
            raise ConfigError(f"{place}.{name}", condition, str(error)) from error
    return sets


def _refined(condition: object, sets: Mapping[str, str]) -> object:
    """Return the condition with names of sets replaced by their conditions; non-expressions are unchanged."""
    try:
        text = expression(line(condition)).encode()  # positions in a tree are in bytes
    except ValueError:
        return condition
    tree = ast.parse(text, mode="eval").body
    terms = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in sets]
    for node in sorted(names, key=lambda node: node.col_offset, reverse=True):
        inner = ast.parse(sets[node.id], mode="eval").body
        plain = {type(inner), type(getattr(inner, "op", None))} & {ast.Name, ast.Compare, ast.And}
        inserted = sets[node.id] if plain and node in terms else f"({sets[node.id]})"
        text = text[: node.col_offset] + inserted.encode() + text[node.end_col_offset :]
    return text.decode()
