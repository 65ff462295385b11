"""Handle Hydra's flags: ``--help``, ``--cfg job``, ``--info …``, ``--multirun``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import hydra

from src.config import components, sweep
from src.errors import ConfigError, nearest
from src.runner import launch

INSPECT = {"--help", "-h", "--hydra-help", "--version", "--resolve"}
INSPECT_WITH_VALUE = {
    "--cfg": {"job", "hydra", "all"},
    "--info": {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"},
    "--package": None,
    "--shell-completion": None,
}
"""Hydra's flags that print and run nothing → their allowed values; None: any value."""
SHORT = {"-c": "--cfg", "-i": "--info", "-p": "--package", "-sc": "--shell-completion"}


def split(arguments: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return flags with their values, if any, and overrides; ``--multirun`` is dropped, since it is always on."""
    flags, overrides, words = [], [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-m", "--multirun"):
            continue
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        name = SHORT.get(name, name)
        if name in INSPECT_WITH_VALUE and not equals and words and not re.search("[=+~]", words[0]):
            value = words.pop(0)
        flags.append((name, value or ("all" if name == "--info" else None)))
    return flags, overrides


def inspect(flags: Sequence[tuple[str, str | None]], overrides: Sequence[str]) -> int:
    """Run Hydra's ``--help``, ``--cfg job`` or ``--info …`` for checked overrides; for a sweep, for its first cell."""
    for name, value in flags:
        if name not in INSPECT | INSPECT_WITH_VALUE.keys():
            known = sorted(flag for flag in INSPECT | INSPECT_WITH_VALUE.keys() if flag.startswith("--"))
            raise ConfigError(name, value or "?", f"unknown flag{nearest(name, known)}; known: {', '.join(known)}")
        values = INSPECT_WITH_VALUE.get(name)
        if values and value not in values:
            hint = nearest(value or "", values)
            raise ConfigError(name, value or "?", f"must be one of {', '.join(sorted(values))}{hint}")
    if {"--cfg", "--info"} & {name for name, _ in flags}:
        jobs = sweep.jobs(overrides)
        if len(jobs) > 1:
            launch.log(f"the first of {len(jobs)} cells:")
        overrides = jobs[0][0]
    shown = [word for flag in flags for word in flag if word]
    sys.argv[1:] = [*shown, *overrides]  # where Hydra reads them
    try:
        hydra.main(config_path=str(components.CONF), config_name="config", version_base="1.3")(launch.run_cell)()
    except ValueError as error:
        raise ConfigError("flags", " ".join(shown), str(error)) from error
    return 0
