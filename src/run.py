"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and sweeps; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
whether or not every cell succeeded. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot be run.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from src import config as configuration
from src import grid, records
from src.allowed import ConfigError
from src.explain import explain

_failures: list[Exception] = []


def say(line: str) -> None:
    """One line to the person at the terminal, above any bar."""
    tqdm.write(line, file=sys.stderr)


@hydra.main(config_path=str(configuration.CONF), config_name="config", version_base="1.3")
def _job(cfg: DictConfig) -> None:
    from src import cell  # torch takes two seconds to import: only a cell that runs pays them

    try:
        command = " ".join(["python -m src.run", *map(shlex.quote, HydraConfig.get().overrides.task)])
        cell.run(configuration.plain(cfg), command, say)
    except (ConfigError, cell.CellError) as error:
        say(str(error))
        if "basic" not in HydraConfig.get().launcher._target_:
            raise  # a cluster must see that its job failed
        _failures.append(error)


def main() -> None:
    """Run what ``sys.argv`` says and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    overrides = [word for word in arguments if "=" in word and not word.startswith("--")]
    try:
        if any(word.startswith("-") and word not in ("-m", "--multirun") for word in arguments):
            _job()  # --help, --cfg, --info, …: Hydra's own business
            return 0
        configs = grid.expand(overrides)
        unfinished = [c for c in configs if c["force"] or records.status(configuration.folder(c))["state"] != "done"]
        say(f"{configs[0]['name']}: {len(configs)} cells, {len(configs) - len(unfinished)} of them finished before")
        if unfinished:
            with _sweep_bar(configs):
                _job()
        return _conclude(configs, overrides)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        say(str(error) if isinstance(error, ConfigError) else explain(error, overrides))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one stopped")
        return 130


def _conclude(configs: Sequence[dict[str, Any]], overrides: Sequence[str]) -> int:
    """Report on the sweep from its files; the exit code."""
    broken = next((error for error in _failures if isinstance(error, ConfigError)), None)
    states = {configuration.folder(c): records.status(configuration.folder(c)) for c in configs}
    done = [cell for cell, status in states.items() if status["state"] == "done"]
    for cell, status in states.items():
        if status["state"] == "failed":
            say(f"FAILED {cell}: {status['reason']}")
    if done and configs[0]["report"]:
        from src import reporting

        reporting.after_sweep(configs, done, overrides, say)
    say(f"{len(done)} of {len(states)} cells done; results in {Path(configs[0]['outputs']) / configs[0]['name']}")
    if broken:
        return 2
    return 0 if len(done) == len(states) else 1


@contextmanager
def _sweep_bar(configs: Sequence[dict[str, Any]]) -> Iterator[None]:
    """A live bar over cells, read from their status files: right for every launcher. Quiet off a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    cells, over = [configuration.folder(c) for c in configs], threading.Event()

    def watch(bar: tqdm) -> None:
        while not over.wait(0.5):
            bar.update(sum((cell / "summary.json").exists() for cell in cells) - bar.n)

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
