"""Read the deviations from a paper, ``conf/deviations/paperN.yaml``, and measure their effects. No torch here.

A deviation is a place where a paper is silent or widely used code differs from it. It has both sides as formulas, the
overrides that select each, and a number that measures the effect. Effects are reported, never judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from src.claims.results import NumberResult
from src.claims.schema import STATISTICS, Number
from src.claims.yaml_entries import Model, Text, check_entries, parse
from src.config import yaml_files
from src.config.papers import Paper, file_name

if TYPE_CHECKING:
    import pandas  # takes half a second to import

    from src.claims.verdicts import JudgeNumber

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "deviations"


def _overrides(text: str) -> str:
    for word in text.split():
        if not re.fullmatch(r"\+?[\w./]+=\S+", word):
            raise ValueError(f"{word} must be key=value, as on the command line")
    return text


class Switch(Model):
    """The overrides of the command line that select each side: ``optimizer=muon optimizer.nesterov=false``."""

    paper: Annotated[Text, AfterValidator(_overrides)]
    code: Annotated[Text, AfterValidator(_overrides)]


class Deviation(Model):
    """One deviation.

    Attributes:
        id: for reference.
        subject: what differs, in a few words.
        paper: formula of the paper; or that the paper is silent, and the suite's choice.
        code: formula of the other side: released code, torch, or another usual choice.
        switch: overrides that select each side.
        effect: number that measures the effect; None if no experiment does.
        note: how to read the effect; without an effect, the command that measures it.
    """

    id: Text
    subject: Text
    paper: Text
    code: Text
    switch: Switch
    effect: Number | None
    note: Text


class MeasuredDeviation(Deviation):
    """A deviation with the result of its effect."""

    effect: NumberResult | None  # type: ignore[assignment]


def load(paper: Paper, folder: Path = FOLDER) -> list[Deviation]:
    """Return the deviations from a paper; empty without a file.

    Raises:
        ConfigError: naming the entry that is missing, unknown or not allowed, with the nearest known word.
    """
    path = folder / f"{file_name(paper)}.yaml"
    return read(path) if path.exists() else []


def read(path: Path) -> list[Deviation]:
    """Return the deviations of a file."""
    entries = yaml_files.read(path, "deviations", list, "a list of mappings, each with the key id")
    check_entries(entries, "deviations", path)
    return [_deviation(entry, f"{path.stem}[{index}]") for index, entry in enumerate(entries)]


def measure(
    deviations: Sequence[Deviation],
    frames: Mapping[str, pandas.DataFrame],
    judge_number: JudgeNumber | None = None,
) -> list[MeasuredDeviation]:
    """Return every deviation with its effect on the rows of ``frames``; arguments as for ``verdicts.judge``."""
    from src.claims import verdicts

    of = judge_number or verdicts.judge_number
    effects = [entry.effect and verdicts.informational(entry.effect, frames, entry.id, of) for entry in deviations]
    return [MeasuredDeviation(**dict(entry) | {"effect": effect})
            for entry, effect in zip(deviations, effects, strict=True)]  # fmt: skip


def _deviation(entry: Mapping[str, object], place: str) -> Deviation:
    """Return the deviation of an entry; nested mappings are parsed first, so that errors name the full place."""
    place, entry = str(entry.get("id", place)), dict(entry)
    for key, kind, also in (("switch", Switch, ()), ("effect", Number, STATISTICS)):
        if entry.get(key) is not None:
            entry[key] = parse(kind, entry[key], f"{place}.{key}", also)
    return parse(Deviation, entry, place)
