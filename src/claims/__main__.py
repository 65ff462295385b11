"""``python -m src.claims check`` and ``columns``: validate the files, and list the columns for expressions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from src import cli
from src.claims import columns, deviations, schema
from src.errors import ConfigError, nearest

COMMAND = cli.Command(
    "python -m src.claims",
    "Validate claims and deviations without running anything, or list the columns that expressions can use.",
    keys={"outputs": cli.OUTPUTS},
    words=("check [FILE …] | columns EXPERIMENT", "check: the files, by default all; columns: of one experiment"),
    examples=[
        "python -m src.claims check",
        "python -m src.claims check conf/claims/paper3.yaml",
        "python -m src.claims columns muon_margin",
    ],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    actions: dict[str, Callable[[list[str], Path], int]] = {"check": _check, "columns": _columns}
    action, *words = given.words or ["?"]
    if action not in actions:
        raise ConfigError("arguments", action, f"must begin with check or columns{nearest(action, actions)}")
    return actions[action](words, given.outputs)


def _check(files: list[str], outputs: Path) -> int:
    """Print one line per problem of a file; return 2 if there is any."""
    problems, numbers = [], 0
    for path in map(Path, files) if files else [*_yaml_files(schema.FOLDER), *_yaml_files(deviations.FOLDER)]:
        try:
            named = _numbers(path)
            numbers += len(named)
            problems += [f"{place}: {sentence}" for place, number in named for sentence in columns.unknown(number)]
        except ConfigError as error:
            problems.append(str(error))
    print("\n".join(problems) or f"{numbers} numbers, no problem found")
    return 2 if problems else 0


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _numbers(path: Path) -> list[tuple[str, schema.Number]]:
    """Return (place, number) for every number of a file of claims or deviations."""
    if path.resolve().parent.name == deviations.FOLDER.name:
        return [(f"{entry.id}.effect", entry.effect) for entry in deviations.read(path) if entry.effect]
    return [(f"{claim.id}, {number.name}", number) for claim in schema.read(path) for number in claim.numbers]


def _columns(words: list[str], outputs: Path) -> int:
    if len(words) != 1:
        raise ConfigError("experiment", " ".join(words) or "?", "name one experiment")
    available, measured = columns.of(words[0]), columns.recorded(outputs / words[0])
    print("config keys:", *sorted(available.config), sep="\n  ")
    if measured is None:
        print("measured (names in the source of its measurements; after the first finished cell, the recorded names):")
        measured = available.shown
    else:
        print(f"measured (in {outputs / words[0]}):")
    print(*(f"  {name}" for name in measured), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
