"""Parse overrides with Hydra's grammar, and refuse those that Hydra would read in an unexpected way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import ChoiceSweep, Override

from src.config import components, hydra_internals
from src.errors import ConfigError

NO_NAMES = ("null", "true", "false", "inf", "nan")
"""Words that Hydra's grammar does not read as strings."""


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return the overrides as Hydra reads them."""
    return hydra_internals.parsed(overrides, components.CONF)


def line(override: Override) -> str:
    """Return an override as the user wrote it."""
    return override.input_line or ""


def groups() -> set[str]:
    """Return the names of the groups of ``conf/``."""
    return {path.parent.relative_to(components.CONF).as_posix() for path in components.CONF.glob("*/**/*.yaml")}


def words(patch: Mapping[str, object], prefix: str = "") -> list[str]:
    """Return the words of the command line that set the keys of ``patch``, a tree of mappings.

    >>> words({"seeds": [0], "data": {"n": 64, "n_test": None}, "dtype": "${vars.dtype}"})
    ['seeds=[0]', 'data.n=64', 'data.n_test=null', 'dtype="${vars.dtype}"']
    """
    flat = []
    for key, value in patch.items():
        name = f"{prefix}{key}"
        flat += words(value, f"{name}.") if isinstance(value, Mapping) else [f"{name}={value_text(value)}"]
    return flat


def value_text(value: object) -> str:
    """Return a value in Hydra's grammar, in quotes unless it is a name.

    >>> [value_text(value) for value in ("adam", "a b", "null", None, [0, 1e-6], True)]
    ['adam', '"a b"', '"null"', 'null', '[0,1e-06]', 'true']
    """
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII) and value.lower() not in NO_NAMES:
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def first_of_sweeps(overrides: Sequence[str]) -> list[str]:
    """Return overrides for one composition, with the first value of every sweep."""
    return grid(parsed(overrides))[0]


def grid(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every cell.

    Raises:
        ConfigError: for a sweep without a value, or over all numbers of an interval.
    """
    for override in overrides:
        key, _, value = line(override).partition("=")
        if not override.is_sweep_override():
            continue
        if not override.is_discrete_sweep():
            raise ConfigError(key, value, "must list single values: a,b,c or range(START,STOP,STEP)")
        if not any(True for _ in override.sweep_iterator()):
            raise ConfigError(key, value, "matches no value, so there is no cell")
    return hydra_internals.grid(overrides)


def refuse_several_for_one(overrides: Sequence[Override]) -> None:
    """Raise ConfigError for several values of a key that takes one.

    One experiment in one profile defines the grid, so these two cannot be swept. Hydra merges the options of a list,
    ``optimizer=[adam,muon]``, into one mixture, so a group takes one name. Sets of measurements may be merged.
    """
    single = groups() - {"measurements"}
    if len(named := [override for override in overrides if override.key_or_group == "experiment"]) > 1:
        names = ",".join(line(override).partition("=")[2] for override in named)
        raise ConfigError("experiment", names, "one at a time; a shell loop runs several")
    for override in overrides:
        name, value = override.key_or_group, line(override).partition("=")[2]
        if name in ("experiment", "profile") and (override.is_sweep_override() or override.package):
            raise ConfigError(name, value, "one at a time; a shell loop runs several")
        given = override.value()
        choices = given.list if isinstance(given, ChoiceSweep) else [given]
        if name in single and any(isinstance(choice, list) for choice in choices):
            swept = "" if name == "experiment" else f"; {name}=A,B runs one cell with each"
            raise ConfigError(name, value, f"must be one name, not a list{swept}")


def refuse_what_is_no_option(overrides: Sequence[Override]) -> None:
    """Raise ConfigError unless each group gets the name of an option or a mapping of keys."""
    for override in overrides:
        key, value = override.key_or_group, override.value()
        if not key:
            raise ConfigError(key, value, "must be key=value")
        if override.is_delete() or isinstance(value, dict) or not (components.CONF / key).is_dir():
            continue
        if not all(isinstance(option, str) for option in (value if isinstance(value, list) else [value])):
            raise ConfigError(key, value, "must be a string, the name of one option")
