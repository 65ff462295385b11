"""``python -m src.dashboards``: one W&B workspace per paper, as JSON files and, with a key, on the server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import get_args

from src import cli
from src.claims import schema
from src.config.schema import Profile, project_name
from src.dashboards.workspaces import push, specification
from src.results import store

COMMAND = cli.Command(
    "python -m src.dashboards",
    "Write a W&B workspace per paper as JSON to FOLDER/dashboards, and push it if there is a key.",
    keys={
        "profile": cli.Key("default", "|".join(get_args(Profile)), "the size of the experiments"),
        "outputs": cli.OUTPUTS,
        "project": cli.Key("implicit-bias", "NAME", "the W&B project of the runs", project_name),
    },
    examples=["python -m src.dashboards", "python -m src.dashboards profile=paper project=mine"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    return cli.exit_code(lambda: _write(arguments))


def _write(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    specs = [specification(paper, given.profile, given.outputs) for paper in schema.papers()]
    folder = given.outputs / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        store.write_json(folder / f"paper{spec['paper']}.json", spec)
    print(f"{len(specs)} specifications in {folder}")
    try:
        print("\n".join(push(specs, given.project, folder)))
    except RuntimeError as error:
        print(f"not pushed ({error}); to push: `wandb login`, then make dashboards", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
