"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and sweeps; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
whether or not every cell succeeded. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot be run.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from src import claims_file, grid, records
from src import config as configuration
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
        config = configuration.plain(cfg)
        cell.run(config, command, _claims_on(config), say)
    except (ConfigError, cell.CellError) as error:
        say(str(error))
        if "basic" not in HydraConfig.get().launcher._target_:
            raise  # a cluster must see that its job failed
        _failures.append(error)


def _claims_on(config: dict[str, Any]) -> list[str]:
    """The ids of the claims that rest on the cell's experiment."""
    if config["paper"] is None:
        return []
    return [claim.id for claim in claims_file.load(config["paper"]) if config["name"] in claim.experiments]


def main() -> None:
    """Run what ``sys.argv`` says and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    overrides = [word for word in arguments if not word.startswith("-")]
    if any(word.startswith("-") and word not in ("-m", "--multirun") for word in arguments):
        return guarded(lambda: _hydra(arguments), overrides)  # --help, --cfg, --info, …: Hydra's own business
    return guarded(lambda: _sweep(overrides), overrides)


def guarded(action: Callable[[], int], overrides: Sequence[str]) -> int:
    """The exit code of ``action``; what a person got wrong in the overrides ends in one line and a 2."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return action()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        say(str(error) if isinstance(error, ConfigError) else explain(error, overrides))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where this one stopped")
        return 130


def _sweep(overrides: Sequence[str]) -> int:
    configs = grid.expand(overrides)
    unfinished = [c for c in configs if c["force"] or not records.finished(configuration.folder(c))]
    say(f"{configs[0]['name']}: {len(configs)} cell(s), {len(configs) - len(unfinished)} finished before")
    if unfinished:
        _run(unfinished, overrides)
    if any(isinstance(error, ConfigError) for error in _failures):
        return 2
    from src import conclude  # pandas and SciPy take their time to import, too

    return conclude.experiment(configs, overrides, say)


def _run(configs: Sequence[dict[str, Any]], overrides: Sequence[str]) -> None:
    """Check every cell, so that a mistake in the last one is told before the first one trains; then let Hydra sweep."""
    from src import cell

    for config in configs:
        cell.check(config)
    outputs = Path(configs[0]["outputs"])
    try:
        outputs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("outputs", outputs, f"cannot be written: {error.strerror}") from error
    with _sweep_bar(configs):
        _hydra(["--multirun", *overrides])


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
