"""Ranges for the annotations of configured numbers. Imports no torch, so that bad input is refused fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic_core import CoreSchema, core_schema


class Range(NamedTuple):
    """Closed or open interval that a configured number must lie in; ``str()`` describes it."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:  # type: ignore[override]  # of numbers, not of fields
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        low = f"{'>' if self.open_low else '>='} {self.low:g}" if self.low is not None else ""
        high = f"{'<' if self.open_high else '<='} {self.high:g}" if self.high is not None else ""
        return " and ".join(part for part in (low, high) if part)


class Within(Range):
    """A range as an annotation, ``Annotated[int, Within(1)]``: pydantic checks that the value lies in it."""

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], CoreSchema]) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float) -> float:
        if value not in self:
            raise ValueError(f"must be {self}")
        return value


Count = Annotated[int, Within(1)]
Natural = Annotated[int, Within(0)]
Positive = Annotated[float, Within(0, open_low=True)]
NonNegative = Annotated[float, Within(0)]
Fraction = Annotated[float, Within(0, 1, open_high=True)]
Share = Annotated[float, Within(0, 1)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
