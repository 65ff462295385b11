"""Reproduce a paper: run the cells of all its experiments, the longest first; write verdicts, figures and a page.

    python scripts/reproduce.py PAPER [--only-report] [experiments=NAME,…] [key=value …]

Finished cells are skipped: run the same command again to resume. Exit code 0: all cells are done; 1: a cell failed;
2: the command cannot run. The report on some experiments has a folder of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src import cli
from src import run as entry
from src.config import experiments, sweep
from src.config.papers import from_name
from src.errors import ConfigError, nearest
from src.report import finalize, index_page
from src.runner import launch

COMMAND = cli.Command(
    "python scripts/reproduce.py",
    "Reproduce a paper: run the cells of all its experiments, then write verdicts, figures and a page.",
    keys={"experiments": cli.Key("", "NAME,…", "some experiments of the paper, instead of all")},
    flags={"--only-report": "run nothing; rebuild the report from existing results"},
    words=("PAPER [key=value …]", "1, 2, 3 or bridges, and keys of all its experiments as for python -m src.run"),
    overrides=True,
    examples=["python scripts/reproduce.py 1 profile=smoke", "python scripts/reproduce.py 3 --only-report"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    words = [cli.quoted(word) for word in arguments]
    return entry.guarded(lambda: reproduce(COMMAND.read(words)), [word for word in words if "=" in word])


def reproduce(given: argparse.Namespace) -> int:
    """Run the unfinished cells of paper ``given.words[0]``, unless only its report is wanted, and write the report."""
    name, *overrides = given.words or ["?"]
    paper = from_name(name)
    names = chosen_of(experiments.of_paper(paper), given.experiments)
    if chosen := next((word for word in overrides if word.lstrip("+~").startswith("experiment")), None):
        raise ConfigError("experiment", chosen.split("=", 1)[-1], "runs alone with python -m src.run +experiment=NAME")
    planned = {name: sweep.jobs([f"+experiment={name}", *overrides]) for name in names}
    configs = {name: [config for _, config in jobs] for name, jobs in planned.items()}
    mistakes = []
    if not given.only_report:
        every = [job for jobs in planned.values() for job in jobs]
        words = [f"+experiment={next(iter(planned))}", *overrides]
        mistakes = entry.checked_and_run(every, launch.unfinished(every), words)
    if given.experiments:
        code = finalize.experiments(configs, overrides, launch.log)
    else:
        code = finalize.paper(paper, configs, overrides, launch.log)
    if given.only_report:
        index_page.write(Path(next(iter(configs.values()))[0].outputs))
    return 2 if mistakes and code else code


def chosen_of(names: Sequence[str], text: str) -> list[str]:
    """Return the experiments of ``text``, "a,b", or all names if it is empty.

    Raises:
        ConfigError: for a name that is none of ``names``.
    """
    chosen = text.split(",") if text else list(names)
    if unknown := [name for name in chosen if name not in names]:
        allowed = f"must be one of {', '.join(names)}{nearest(unknown[0], names)}"
        raise ConfigError("experiments", unknown[0], allowed)
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
