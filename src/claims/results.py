"""Typed results of claims, the content of ``claims.json``. No torch, no pandas here."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from src.config.papers import Paper


class Verdict(StrEnum):
    """Verdict on a claim; for a check, passed and failed replace reproduced and contradicted."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not run"
    INFORMATIONAL = "informational"
    PASSED = "passed"
    FAILED = "failed"


OF_CLAIMS = (Verdict.REPRODUCED, Verdict.CONTRADICTED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN)
OF_CHECKS = {Verdict.REPRODUCED: Verdict.PASSED, Verdict.CONTRADICTED: Verdict.FAILED}


class Result(BaseModel):
    """An estimate with its interval and verdict.

    For worst-case statistics, ``seeds_held`` of ``seeds`` seeds meet the criterion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: int | None = None
    seeds_held: int | None = None
    converged: float | None = None
    statistic: str
    verdict: Verdict
    reason: str = ""


class GroupResult(Result):
    """The result in one group of rows; ``group`` names it, ``data_k = 8``."""

    group: str = ""


class NumberResult(GroupResult):
    """The result of a number, that of its worst group; ``groups`` are empty unless it has ``group_by``."""

    name: str
    experiment: str
    quantity: str
    companion: str
    rows: str
    criterion: str
    cells: tuple[str, ...] = ()
    groups: tuple[GroupResult, ...] = ()


class ClaimResult(Result):
    """The verdict on a claim, with the number that decides it: the first of its parts with the worst verdict.

    ``n`` counts members, ``converged`` is the fraction of converged ones; ``reason`` is empty for a reproduced claim.
    """

    id: str
    paper: Paper
    statement: str
    formula: str
    source: str
    experiment: str
    published: str | None
    fails_if: str | None = None
    control: str | None = None
    check: bool
    name: str
    criterion: str
    cells: tuple[str, ...]
    parts: tuple[NumberResult, ...]
    reports: tuple[NumberResult, ...]

    DECIDING: ClassVar = {*Result.model_fields, "name", "criterion"} - {"verdict"}

    @property
    def numbers(self) -> tuple[NumberResult, ...]:
        """The results of the parts, then of the numbers to report."""
        return self.parts + self.reports
