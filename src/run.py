"""Entry point: ``python -m src.run +experiment=NAME [key=value …]``.

Hydra composes and launches; each job is a cell. After the sweep, tables, figures and verdicts are rebuilt from files,
also when a cell failed. Exit code 0: all cells are done; 1: a cell failed; 2: the command cannot run.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":  # the imports below take a second: Ctrl-C then ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from collections.abc import Callable, Sequence

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src import cli
from src.config import experiments, sweep
from src.config.messages import explain
from src.errors import ConfigError, unwritable
from src.results import provenance, store
from src.runner import flags, launch
from src.runner.launch import log


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    launch.plain_warnings()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code."""
    given, words = flags.split(arguments)
    overrides = [cli.quoted(word) for word in words]
    if given:
        return guarded(lambda: flags.inspect(given, overrides), overrides)
    return guarded(lambda: _sweep(overrides), overrides)


def guarded(action: Callable[[], int], overrides: Sequence[str]) -> int:
    """Return the exit code of ``action``: 2, after one line, for a mistake in the overrides."""
    # Hydra then leaves its errors to us instead of printing them with a hint at this very variable.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def explained() -> int:
        try:
            return action()
        except (HydraException, OmegaConfBaseException) as error:
            log(explain(error, overrides))
            return 2
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            log(str(experiments.damaged_file() or " ".join(str(error).split())))
            return 2
        except BrokenPipeError:
            raise
        except OSError as error:
            folders = [word.partition("=")[2] for word in overrides if word.startswith("outputs=")]
            raise unwritable("outputs", [*folders, "outputs"][0], error) from error

    return cli.exit_code(explained, interrupted="Interrupted. Run the same command again to resume.")


def _sweep(overrides: Sequence[str]) -> int:
    if not overrides:
        raise ConfigError("experiment", "?", f"choose with +experiment=NAME: {', '.join(experiments.names())}")
    jobs = sweep.jobs(overrides)
    configs = [config for _, config in jobs]
    unfinished = launch.unfinished(jobs)
    log(f"{configs[0].name}: {len(configs)} cell(s), {len(configs) - len(unfinished)} already finished")
    mistakes = checked_and_run(jobs, unfinished, overrides)
    if mistakes and not store.count_finished(config.folder for config in configs):
        return 2
    from src.report import finalize  # pandas and SciPy take their time to import, too

    code = finalize.experiments({configs[0].name: configs}, overrides, log)
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
        log("note: git finds no commit of this checkout, so the cells do not record one")
    cells = [config.folder for _, config in jobs]
    try:
        store.write_plan(dict(zip(cells, (sweep.cost(config) for _, config in jobs), strict=True)))
        mistakes = launch.run(unfinished, overrides)
    except ConfigError:
        store.drop_refused(cells)
        raise
    except OSError as error:  # finished cells can still be reported
        mistakes = [unwritable("outputs", jobs[0][1].outputs, error)]
        log(str(mistakes[0]))
    if mistakes:
        store.drop_refused(cells)
    return mistakes


if __name__ == "__main__":
    main()
