"""The files of the experiments, and of conf/ as a whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from src.config import components, yaml_files
from src.config.papers import Paper, in_order
from src.config.validation import Tree
from src.errors import ConfigError


def of_paper(paper: Paper) -> list[str]:
    """Return the experiments whose files name the paper; warn of each damaged file of another paper.

    Raises:
        ConfigError: for a paper that has none, or for a damaged file that names this paper.
    """
    papers, names_paper = {}, rf"^paper:\s*{re.escape(str(paper))}\b"
    for path in sorted((components.CONF / "experiment").glob("*.yaml")):
        try:
            papers[path.stem] = _read(path).get("paper")
        except ConfigError as error:
            if path.is_file() and re.search(names_paper, path.read_text("latin-1"), re.MULTILINE):
                raise
            logging.getLogger(__name__).warning("left out: %s", error)
    names = sorted(name for name, its_paper in papers.items() if its_paper == paper)
    if not names:
        known = ", ".join(map(str, in_order({its_paper for its_paper in papers.values() if its_paper})))
        raise ConfigError("paper", paper, f"must be one of {known}")
    return names


def _read(path: Path) -> Tree:
    return yaml_files.read(path, "experiment", dict, "a mapping of keys to values")


def names() -> list[str]:
    """Return the names of all experiments."""
    return sorted(path.stem for path in (components.CONF / "experiment").glob("*.yaml"))


def check_file(parsed: Sequence[Override]) -> None:
    """Raise ConfigError if an experiment's file is not a mapping; Hydra's error would not name the file."""
    for override in parsed:
        if override.key_or_group == "experiment" and str(override.value()) in names():
            _read(components.CONF / "experiment" / f"{override.value()}.yaml")


def damaged_file() -> ConfigError | None:
    """Return the error of the first file of conf/ that is not YAML, for errors of Hydra that name no file."""
    for path in sorted(components.CONF.rglob("*.yaml")):
        try:
            yaml_files.read(path, path.parent.name, object, "anything")
        except ConfigError as error:
            return error
    return None
