"""``python -m src.dashboards``: write W&B workspaces, and browse or upload offline runs.

A workspace per paper is written as JSON and, with a key and the extra ``workspaces``, pushed to the server.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from src import cli
from src.claims import schema
from src.config.papers import file_name
from src.config.schema import Profile, project_name
from src.dashboards.workspaces import specification
from src.errors import ConfigError, nearest
from src.results import store, wandb_run

OF_WANDB = {"browse": ["leet", "wandb"], "upload": ["sync", "--yes"]}
"""Action → arguments of the ``wandb`` command, which uploads each offline run once."""
COMMAND = cli.Command(
    "python -m src.dashboards",
    "Write a W&B workspace per paper as JSON to FOLDER/dashboards, and push it if there is a key.",
    words=("[browse|upload]", "instead, browse the offline W&B runs in the terminal, or upload them once"),
    keys={
        "profile": cli.Key("default", "|".join(get_args(Profile)), "the profile of the experiments"),
        "outputs": cli.OUTPUTS,
        "project": cli.Key("implicit-bias", "NAME", "the W&B project of the runs", project_name),
    },
    examples=["python -m src.dashboards profile=paper project=mine", "python -m src.dashboards upload outputs=there"],
)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return cli.exit_code(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    given = COMMAND.read(arguments)
    if given.words:
        return _start_wandb(",".join(given.words), given.outputs)
    specs = {paper: specification(paper, given.profile, given.outputs) for paper in schema.papers()}
    folder = given.outputs / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for paper, spec in specs.items():
        store.write_json(folder / f"{file_name(paper)}.json", spec)
    print(f"{len(specs)} specifications in {folder}")
    try:
        print("\n".join(push(list(specs.values()), given.project, folder)))
    except ConfigError as error:
        print(f"not pushed: {error}", file=sys.stderr)
    return 0


def _start_wandb(action: str, outputs: Path) -> int:
    if action not in OF_WANDB:
        raise ConfigError("action", action, f"must be one of {', '.join(OF_WANDB)}{nearest(action, OF_WANDB)}")
    if not any((outputs / "wandb").glob("*run-*-*/")):
        raise ConfigError("outputs", outputs, "contains no offline W&B run; tracking.mode=offline creates them")
    if action == "upload":
        wandb_run.account()  # raises in one line without a key
    command = [str(Path(sys.executable).parent / "wandb"), *OF_WANDB[action]]
    return subprocess.run(command, cwd=outputs, check=False).returncode


def push(specs: Sequence[Mapping], project: str, folder: Path) -> list[str]:
    """Save the workspaces to the account of the key, replacing earlier ones; return their addresses.

    Raises:
        ConfigError: for a missing package or key, or an error of the server.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ConfigError("workspaces", "not installed", "pip install -c constraints.txt -e '.[workspaces]' adds it")
    entity = wandb_run.account()
    known = store.read_json(folder / "pushed.json") or {}
    addresses = []
    for spec in specs:
        built, key = workspace(spec, entity, project), f"{entity}/{project}/{spec['name']}"
        built._internal_name, built._internal_id = known.get(key, ("", ""))  # the API has no public name for these
        try:
            built.save()
        except Exception as error:
            raise ConfigError("W&B", spec["name"], str(error).splitlines()[0]) from error
        known[key] = built._internal_name, built._internal_id
        store.write_json(folder / "pushed.json", known)
        addresses.append(built.url)
    return addresses


def workspace(spec: Mapping, entity: str, project: str) -> Any:
    """Return the ``wandb_workspaces`` object of a specification."""
    from wandb_workspaces import expr, workspaces
    from wandb_workspaces.reports import v2

    def panel(panel: str, **arguments: Any) -> Any:
        for name, value in arguments.items():
            if str(value).startswith("config:"):
                arguments[name] = v2.Config(value.removeprefix("config:"))
        return getattr(v2, panel)(**arguments)

    sections = [
        workspaces.Section(name=section["name"], panels=[panel(**p) for p in section["panels"]], is_open=not index)
        for index, section in enumerate(spec["sections"])
    ]
    filters = [
        expr.Config(key).isin(value) if isinstance(value, list) else expr.Config(key) == value
        for key, value in spec["filters"].items()
    ]
    runs = workspaces.RunsetSettings(filters=expr.And(*filters), groupby=list(map(expr.Config, spec["group_by"])))
    about = {"entity": entity, "project": project, "name": spec["name"]}
    return workspaces.Workspace(**about, sections=sections, runset_settings=runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
