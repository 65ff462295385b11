"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and launches; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
whether or not every cell succeeded. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot be run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src import config as configuration
from src import grid, launch, provenance, records
from src.allowed import ConfigError, nearest, unwritable
from src.explain import explain
from src.launch import say

INSPECT = {"--help", "-h", "--hydra-help", "--version", "--resolve"}
INSPECT_WITH_VALUE = {"--cfg", "-c", "--info", "-i", "--package", "-p", "--shell-completion", "-sc"}
"""Hydra's flags that show something and run nothing."""


def main() -> None:
    """Run what ``sys.argv`` says and exit."""
    launch.plain_warnings()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    flags, overrides = _split(arguments)
    if flags:
        return guarded(lambda: _inspect(flags, overrides), overrides)
    return guarded(lambda: _sweep(overrides), overrides)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags, each with its value, and overrides. ``--multirun`` is what we always do."""
    flags, overrides, words = [], [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-m", "--multirun"):
            continue
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flags.append(word)
        if word in INSPECT_WITH_VALUE and words and not re.search("[=+~]", words[0]):
            flags.append(words.pop(0))
    return flags, overrides


def _inspect(flags: Sequence[str], overrides: Sequence[str]) -> int:
    """``--help``, ``--cfg job``, ``--info …``: Hydra shows, after we have checked what it is to show."""
    for flag in flags:
        name = flag.split("=")[0]
        if name.startswith("-") and name not in INSPECT | INSPECT_WITH_VALUE:
            known = ", ".join(sorted(flag for flag in INSPECT | INSPECT_WITH_VALUE if flag.startswith("--")))
            raise ConfigError(name, "?", f"unknown flag{nearest(name, INSPECT | INSPECT_WITH_VALUE)}; known: {known}")
    if any(flag in ("--cfg", "-c") for flag in flags):
        grid.expand(overrides)
    sys.argv[1:] = [*flags, *overrides]  # where Hydra reads them
    try:
        hydra.main(config_path=str(configuration.CONF), config_name="config", version_base="1.3")(launch.run_cell)()
    except ValueError as error:
        raise ConfigError("flags", " ".join(flags), str(error)) from error
    return 0


def guarded(action: Callable[[], int], overrides: Sequence[str]) -> int:
    """The exit code of ``action``; what a person got wrong in the overrides ends in one line and a 2."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return action()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        say(str(error) if isinstance(error, ConfigError) else explain(error, overrides))
        return 2
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        say(str(grid.damaged_file() or " ".join(str(error).split())))
        return 2
    except OSError as error:
        folders = [word.partition("=")[2] for word in overrides if word.startswith("outputs=")]
        say(str(unwritable("outputs", [*folders, "outputs"][0], error)))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one stopped")
        return 130


def _sweep(overrides: Sequence[str]) -> int:
    if not overrides:
        raise ConfigError("experiment", "?", f"choose with +experiment=NAME: {', '.join(grid.all_experiments())}")
    jobs = grid.jobs(overrides)
    configs = [config for _, config in jobs]
    unfinished = launch.unfinished(jobs)
    say(f"{configs[0]['name']}: {len(configs)} cell(s), {len(configs) - len(unfinished)} finished before")
    mistakes = checked_and_run(jobs, unfinished, overrides)
    if mistakes and not records.count_finished(map(configuration.folder, configs)):
        return 2
    from src import conclude  # pandas and SciPy take their time to import, too

    code = conclude.experiment(configs, overrides, say)
    return 2 if mistakes else code


def checked_and_run(
    jobs: Sequence[launch.Job], unfinished: Sequence[launch.Job], overrides: Sequence[str]
) -> list[ConfigError]:
    """Check every cell, so that a mistake in the last one is told before the first one trains; then launch them.

    Returns:
        What a person got wrong that showed only in the cells, as ``launch.run``.

    Raises:
        ConfigError: for what can be seen before.
    """
    if not unfinished:
        return []
    from src import assembly

    for _, config in unfinished:
        assembly.check(config)
    if provenance.commit_unknown():
        say("note: git gives no commit of this checkout, so the cells record none")
    cells = [configuration.folder(config) for _, config in jobs]
    try:
        records.write_plan(dict(zip(cells, (grid.cost(config) for _, config in jobs), strict=True)))
        mistakes = launch.run(unfinished, overrides)
    except ConfigError:
        records.drop_refused(cells)
        raise
    except OSError as error:  # what is finished can be shown all the same
        mistakes = [unwritable("outputs", jobs[0][1]["outputs"], error)]
        say(str(mistakes[0]))
    if mistakes:
        records.drop_refused(cells)
    return mistakes


if __name__ == "__main__":
    main()
