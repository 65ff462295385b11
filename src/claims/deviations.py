"""Where a paper is silent, or widely used code differs: ``conf/ledger/paperN.yaml``, and what each choice does.

An entry states both sides as formulas, the switch of the command line that selects each, and the measured effect of
choosing the other: a number told beside it, never judged. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from src.claims.schema import Part, read_part
from src.claims.verdicts import told
from src.claims.yaml_entries import check_keys, read_entries, text
from src.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "ledger"
SIDES = ("paper", "code")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One choice.

    Attributes:
        id: stands before everything told of it.
        subject: what is chosen, in a few words.
        paper: what the paper has, as a formula; or that it is silent, and what we take.
        code: what the other has: released code, torch, or the other usual choice.
        switch: words of the command line that select each, ``{"paper": "optimizer=muon optimizer.nesterov=false"}``.
        effect: the number that shows what the choice does, read from experiments; None when none measures it.
        note: how to read the effect; without one, the command that would measure it.
    """

    id: str
    subject: str
    paper: str
    code: str
    switch: Mapping[str, str]
    effect: Part | None
    note: str


def load(paper: int, folder: Path = FOLDER) -> list[Entry]:
    """The ledger of a paper; empty when it has none.

    Raises:
        ConfigError: naming the entry that is missing, unknown or not allowed, with the nearest known word.
    """
    path = folder / f"paper{paper}.yaml"
    if not path.exists():
        return []
    return [_entry(entry, f"{path.stem}[{index}]") for index, entry in enumerate(read_entries(path, "ledger"))]


def measure(entries: Sequence[Entry], frames: Mapping[str, pandas.DataFrame]) -> list[dict[str, Any]]:
    """Every entry with its effect on the rows of ``frames`` (experiment → frame of ``store.frame``).

    Returns:
        Per entry ``{id, subject, paper, code, switch, note, says, effect}``; ``effect`` is a record of
        ``verdicts.told``, whose ``estimate`` is None, with a ``reason``, where it could not be measured, and None for
        an entry that names no effect.
    """
    return [
        {
            **{key: getattr(entry, key) for key in ("id", "subject", "paper", "code", "note")},
            "switch": dict(entry.switch),
            "says": entry.effect.says if entry.effect else "not measured",
            "effect": told(entry.effect, frames, entry.id) if entry.effect else None,
        }
        for entry in entries
    ]


def _entry(entry: dict[str, Any], place: str) -> Entry:
    place = str(entry.get("id", place))
    known = {"id", "subject", "paper", "code", "switch", "effect", "note"}
    check_keys(entry, known, known, place)
    texts = {key: text(entry[key], f"{place}.{key}") for key in ("id", "subject", "paper", "code", "note")}
    return Entry(
        **texts,
        switch=_switch(entry["switch"], f"{place}.switch"),
        effect=None if entry["effect"] is None else _effect(entry["effect"], f"{place}.effect"),
    )


def _switch(entry: Any, place: str) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise ConfigError(place, entry, "must be a mapping with the keys paper and code")
    check_keys(entry, set(SIDES), set(SIDES), place)
    for side in SIDES:
        for word in text(entry[side], f"{place}.{side}").split():
            if not re.fullmatch(r"\+?[\w./]+=\S+", word):
                raise ConfigError(f"{place}.{side}", word, "must be key=value, as on the command line")
    return {side: text(entry[side], place) for side in SIDES}


def _effect(entry: Any, place: str) -> Part:
    """A part of a claim that names its experiment, and whose criterion, if it stands there at all, is null."""
    if not isinstance(entry, dict) or "experiment" not in entry:
        raise ConfigError(place, entry, "must be null, or a mapping with the keys experiment, says and value")
    part = read_part({"criterion": None} | entry, (), place)
    if part.criterion is not None:
        raise ConfigError(f"{place}.criterion", entry["criterion"], "an effect is told, not judged: leave it out")
    return part
