"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and launches; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
also when a cell failed. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot run.
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

from src import cli
from src.config import components, sweep
from src.config.messages import explain
from src.errors import ConfigError, nearest, unwritable
from src.results import provenance, store
from src.runner import launch
from src.runner.launch import say

INSPECT = {"--help", "-h", "--hydra-help", "--version", "--resolve"}
INSPECT_WITH_VALUE = {
    "--cfg": {"job", "hydra", "all"},
    "--info": {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"},
    "--package": None,
    "--shell-completion": None,
}
"""Hydra's flags that show something and run nothing, with the values that they take; None: any value."""
SHORT = {"-c": "--cfg", "-i": "--info", "-p": "--package", "-sc": "--shell-completion"}


def main() -> None:
    """Run the command line and exit."""
    launch.plain_warnings()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code."""
    flags, words = _split(arguments)
    overrides = [cli.quoted(word) for word in words]
    if flags:
        return guarded(lambda: _inspect(flags, overrides), overrides)
    return guarded(lambda: _sweep(overrides), overrides)


def _split(arguments: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return flags, each with its value if it has one, and overrides; ``--multirun`` is always on."""
    flags, overrides, words = [], [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-m", "--multirun"):
            continue
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, given, value = word.partition("=")
        name = SHORT.get(name, name)
        if name in INSPECT_WITH_VALUE and not given and words and not re.search("[=+~]", words[0]):
            value = words.pop(0)
        flags.append((name, value or ("all" if name == "--info" else None)))
    return flags, overrides


def _inspect(flags: Sequence[tuple[str, str | None]], overrides: Sequence[str]) -> int:
    """Let Hydra show ``--help``, ``--cfg job``, ``--info …``, after a check of the words; of a sweep, the first cell."""
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
            say(f"the first of {len(jobs)} cells:")
        overrides = jobs[0][0]
    shown = [word for flag in flags for word in flag if word]
    sys.argv[1:] = [*shown, *overrides]  # where Hydra reads them
    try:
        hydra.main(config_path=str(components.CONF), config_name="config", version_base="1.3")(launch.run_cell)()
    except ValueError as error:
        raise ConfigError("flags", " ".join(shown), str(error)) from error
    return 0


def guarded(action: Callable[[], int], overrides: Sequence[str]) -> int:
    """Return the exit code of ``action``: 2, after one line, for a mistake in the overrides."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def explained() -> int:
        try:
            return action()
        except (HydraException, OmegaConfBaseException) as error:
            say(explain(error, overrides))
            return 2
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            say(str(sweep.damaged_file() or " ".join(str(error).split())))
            return 2
        except BrokenPipeError:
            raise
        except OSError as error:
            folders = [word.partition("=")[2] for word in overrides if word.startswith("outputs=")]
            raise unwritable("outputs", [*folders, "outputs"][0], error) from error

    return cli.exit_code(explained, interrupted="Interrupted. Run the same command again to resume.")


def _sweep(overrides: Sequence[str]) -> int:
    if not overrides:
        raise ConfigError("experiment", "?", f"choose with +experiment=NAME: {', '.join(sweep.all_experiments())}")
    jobs = sweep.jobs(overrides)
    configs = [config for _, config in jobs]
    unfinished = launch.unfinished(jobs)
    say(f"{configs[0].name}: {len(configs)} cell(s), {len(configs) - len(unfinished)} finished before")
    mistakes = checked_and_run(jobs, unfinished, overrides)
    if mistakes and not store.count_finished(config.folder for config in configs):
        return 2
    from src.report import finalize  # pandas and SciPy take their time to import, too

    code = finalize.experiment(configs, overrides, say)
    return 2 if mistakes else code


def checked_and_run(
    jobs: Sequence[launch.Job], unfinished: Sequence[launch.Job], overrides: Sequence[str]
) -> list[ConfigError]:
    """Check every cell before the first one trains, then launch them.

    Returns:
        Mistakes of the user that showed only in the cells, as ``launch.run``.

    Raises:
        ConfigError: for mistakes that show before.
    """
    if not unfinished:
        return []
    from src.runner import build

    for _, config in unfinished:
        build.check(config)
    if provenance.commit_unknown():
        say("note: git gives no commit of this checkout, so the cells record none")
    cells = [config.folder for _, config in jobs]
    try:
        store.write_plan(dict(zip(cells, (sweep.cost(config) for _, config in jobs), strict=True)))
        mistakes = launch.run(unfinished, overrides)
    except ConfigError:
        store.drop_refused(cells)
        raise
    except OSError as error:  # what is finished can be shown all the same
        mistakes = [unwritable("outputs", jobs[0][1].outputs, error)]
        say(str(mistakes[0]))
    if mistakes:
        store.drop_refused(cells)
    return mistakes


if __name__ == "__main__":
    main()
