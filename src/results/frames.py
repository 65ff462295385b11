"""The rows of experiments, read when they are first used: a report without changes needs none. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src.results import store

if TYPE_CHECKING:
    import pandas


class Frames(Mapping[str, "pandas.DataFrame"]):
    """Experiment → frame of ``store.frame`` over its ``cells``."""

    def __init__(self, cells: Mapping[str, Sequence[Path]]):
        self._cells = cells
        self._read: dict[str, pandas.DataFrame] = {}

    def __getitem__(self, name: str) -> pandas.DataFrame:
        if name not in self._read:
            self._read[name] = store.frame(self._cells[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)
