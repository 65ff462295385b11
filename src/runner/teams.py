"""Cells that train in one batch: on a GPU, the small networks of a single cell leave most of it idle.

The members of alike cells differ in data of the same shapes, in seeds and in base rates, and in nothing else. A team of
such cells trains as one cell with all their members would, while every cell measures and writes its own: its files are
those it has alone, up to the order in which matrix products round. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

OWN = ("seeds", "data", "label", "vary", "size", "measurements")
"""Keys in which cells of a team may differ, besides ``optimizer.lr``."""

Cell = TypeVar("Cell")


def alike(config: Mapping[str, Any]) -> str:
    """The same text for configs of cells that may be of one team, if their data have the same shapes."""
    optimizer = {key: value for key, value in config["optimizer"].items() if key != "lr"}
    shared = {key: value for key, value in config.items() if key not in OWN}
    return json.dumps(shared | {"optimizer": optimizer}, sort_keys=True)


def grouped(cells: Iterable[tuple[Any, Cell]]) -> list[list[Cell]]:
    """Cells of equal keys, from pairs (key, cell), in the order in which they came.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    [[1, 3], [2]]
    """
    teams: dict[Any, list[Cell]] = {}
    for key, cell in cells:
        teams.setdefault(key, []).append(cell)
    return list(teams.values())


def cut(team: list[Cell], config: Mapping[str, Any], fit: int | None = None) -> list[list[Cell]]:
    """A team in teams of as many cells as ``together`` allows, and as ``fit``.

    Unless ``together`` says so, a CPU takes one at a time and a GPU all that fit.
    """
    most = config["together"] or (len(team) if config["device"] == "cuda" else 1)
    most = max(1, most if fit is None else min(most, fit))
    return [team[start : start + most] for start in range(0, len(team), most)]


def rates(configs: Sequence[Mapping[str, Any]]) -> Any:
    """``optimizer.lr`` of a whole team: that of all cells, or a list with one for each member."""
    each = [config["optimizer"].get("lr") for config in configs]
    if all(rate == each[0] for rate in each) and not isinstance(each[0], list):
        return each[0]
    pairs = zip(each, configs, strict=True)
    return [r for rate, config in pairs for r in (rate if isinstance(rate, list) else [rate] * len(config["seeds"]))]
