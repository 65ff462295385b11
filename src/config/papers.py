"""The papers by their keys: a number, or ``bridges`` for what the papers say together.

A paper exists if it has claims, ``conf/claims/<file_name>.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterable

Paper = int | str


def file_name(paper: Paper) -> str:
    """Return the stem of the paper's files, reports, pages and make target.

    >>> file_name(1), file_name("bridges")
    ('paper1', 'bridges')
    """
    return f"paper{paper}" if isinstance(paper, int) else paper


def from_name(name: str) -> Paper:
    """Return the paper of a word of the command line or of a file's stem.

    >>> from_name("3"), from_name("paper3"), from_name("bridges")
    (3, 3, 'bridges')
    """
    number = name.removeprefix("paper")
    return int(number) if number.isdecimal() else name


def in_order(papers: Iterable[Paper]) -> list[Paper]:
    """Return the papers by number, then the others by name."""
    return sorted(papers, key=lambda paper: (isinstance(paper, str), paper))


def heading(paper: Paper) -> str:
    """Return the title of the paper's page: ``Paper 1``, ``Bridges``."""
    return f"Paper {paper}" if isinstance(paper, int) else paper.capitalize()
