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
    """Raise ConfigError if an experiment's file is not a mapping, or makes a variant that it sweeps ineffective.

    Hydra's error would not name the file. It has none for a variant whose options or keys the experiment overrides.
    """
    for override in parsed:
        if override.key_or_group == "experiment" and str(override.value()) in names():
            _check_variants(_read(components.CONF / "experiment" / f"{override.value()}.yaml"), str(override.value()))


def _check_variants(experiment: Tree, name: str) -> None:
    defaults, sweep = experiment.get("defaults"), experiment.get("sweep")
    if not isinstance(defaults, list) or not isinstance(sweep, dict):
        return
    places = {str(key).lstrip("/"): i for i, entry in enumerate(defaults) if isinstance(entry, dict) for key in entry}
    options, keys = _overrides(defaults), _leaves(experiment)
    for group in (key for key in sweep if str(key).startswith("variant/") and key in places):
        wins_over_variants = "_self_" not in defaults or defaults.index("_self_") > places[group]
        swept = sweep[group] if isinstance(sweep[group], list) else []
        for path in (path for path in sorted((components.CONF / group).glob("*.yaml")) if path.stem in swept):
            variant = yaml_files.read(path, group, dict, "a mapping of keys to values")
            own = _overrides(variant.get("defaults") or [])
            lost = [f"/{key}" for key in own if own[key] != options.get(key, own[key])]
            if wins_over_variants:
                values = _leaves(variant)
                lost += [key for key in values if values[key] != keys.get(key, values[key])]
            if lost:
                allowed = f"has no effect on {', '.join(lost)}: {name}.yaml overrides it; set it in the variants only"
                raise ConfigError(group, path.stem, allowed)


def _overrides(defaults: Sequence[object]) -> dict[str, object]:
    """Return group → option of the entries ``override /group: option`` of a defaults list."""
    pairs = [pair for entry in defaults if isinstance(entry, dict) for pair in entry.items()]
    return {str(key).removeprefix("override /"): option for key, option in pairs if str(key).startswith("override /")}


def _leaves(tree: Tree, prefix: str = "") -> dict[str, object]:
    """Return dotted key → value of the keys that a file sets."""
    found: dict[str, object] = {}
    for key, value in tree.items():
        if prefix or key not in ("defaults", "profiles", "sweep"):
            found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def damaged_file() -> ConfigError | None:
    """Return the error of the first file of conf/ that is not YAML, for errors of Hydra that name no file."""
    for path in sorted(components.CONF.rglob("*.yaml")):
        try:
            yaml_files.read(path, path.parent.name, object, "anything")
        except ConfigError as error:
            return error
    return None
