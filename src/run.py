"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and sweeps; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
whether or not every cell succeeded. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot be run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from src import claims_file, grid, records
from src import config as configuration
from src.allowed import CellError, ConfigError, nearest
from src.explain import explain

INSPECT = {"--help", "-h", "--hydra-help", "--version", "--resolve"}
INSPECT_WITH_VALUE = {"--cfg", "-c", "--info", "-i", "--package", "-p", "--shell-completion", "-sc"}
"""Hydra's flags that show something and run nothing."""

_failures: list[Exception] = []
"""Of the cells that Hydra's basic launcher ran in this process."""


def say(line: str) -> None:
    """One line to the person at the terminal, above any bar."""
    tqdm.write(line, file=sys.stderr)


@hydra.main(config_path=str(configuration.CONF), config_name="config", version_base="1.3")
def _job(cfg: DictConfig) -> None:
    from src import cell  # torch takes two seconds to import: only a cell that runs pays them

    try:
        config = configuration.plain(cfg)
        cell.run(config, command(HydraConfig.get().overrides.task), claims_on(config), say)
    except (ConfigError, CellError) as error:
        if str(error) not in map(str, _failures):  # what keeps every cell from running is told once
            say(str(error))
        if "basic" not in HydraConfig.get().launcher._target_:
            raise  # a cluster must see that its job failed
        _failures.append(error)


def command(overrides: Sequence[str]) -> str:
    """What a person types to get the cell these overrides compose."""
    return " ".join(["python -m src.run", *map(shlex.quote, overrides)])


def claims_on(config: dict[str, Any]) -> list[str]:
    """The ids of the claims that rest on the cell's experiment."""
    if config["paper"] is None:
        return []
    return [claim.id for claim in claims_file.load(config["paper"]) if config["name"] in claim.experiments]


def plain_warnings() -> None:
    """Warnings as one line that names no file."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


def main() -> None:
    """Run what ``sys.argv`` says and exit."""
    plain_warnings()
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
    try:
        return _hydra([*flags, *overrides])
    except ValueError as error:
        raise ConfigError("flags", " ".join(flags), str(error)) from error


def guarded(action: Callable[[], int], overrides: Sequence[str]) -> int:
    """The exit code of ``action``; what a person got wrong in the overrides ends in one line and a 2."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return action()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        say(str(error) if isinstance(error, ConfigError) else explain(error, overrides))
        return 2
    except OSError as error:
        say(f"outputs={error.filename}: cannot be written or read: {error.strerror}")
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one stopped")
        return 130


def _sweep(overrides: Sequence[str]) -> int:
    if not overrides:
        raise ConfigError("experiment", "?", f"choose with +experiment=NAME: {', '.join(grid.all_experiments())}")
    configs = grid.expand(overrides)
    unfinished = [c for c in configs if c["force"] or not records.finished(configuration.folder(c))]
    say(f"{configs[0]['name']}: {len(configs)} cell(s), {len(configs) - len(unfinished)} finished before")
    if unfinished:
        _run(configs, unfinished, overrides)
    mistaken = any(isinstance(error, ConfigError) for error in _failures)
    if mistaken and not records.count_finished(map(configuration.folder, configs)):
        return 2
    from src import conclude  # pandas and SciPy take their time to import, too

    code = conclude.experiment(configs, overrides, say)
    return 2 if mistaken else code


def _run(configs: Sequence[dict[str, Any]], unfinished: Sequence[dict[str, Any]], overrides: Sequence[str]) -> None:
    """Check every cell, so that a mistake in the last one is told before the first one trains; then let Hydra sweep."""
    from src import cell

    for config in unfinished:
        cell.check(config)
    records.write_plan({configuration.folder(config): grid.cost(config) for config in configs})
    try:
        with _sweep_bar(unfinished):
            _hydra(["--multirun", *overrides])
    except CellError:
        pass  # told by the job; the other jobs have run, and the report is drawn from what there is


def _hydra(arguments: Sequence[str]) -> int:
    """Hand over to Hydra, which reads its arguments from ``sys.argv``."""
    _failures.clear()
    sys.argv[1:] = arguments
    _job()
    return 0


@contextmanager
def _sweep_bar(configs: Sequence[dict[str, Any]]) -> Iterator[None]:
    """A live bar over cells, read from their status files: right for every launcher. Quiet off a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    cells, over = [configuration.folder(c) for c in configs], threading.Event()

    def watch(bar: tqdm) -> None:
        while not over.wait(0.5):
            bar.update(records.count_finished(cells) - bar.n)

    with tqdm(total=len(cells), desc=configs[0]["name"], unit="cell", position=0, leave=False) as bar:
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


if __name__ == "__main__":
    main()
