"""Explain an error of a command line in one line: the key, the value, what is allowed and the nearest match."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from src import cli
from src.config import components, experiments
from src.config.overrides import first_of_sweeps
from src.config.validation import parameters, suggestion
from src.errors import nearest, shown

EXTRA = "pip install -c constraints.txt -e '.[{}]' adds it"
ADDED_BY = {
    "joblib": "make setup updates .venv",
    "ray": EXTRA.format("ray"),
    "submitit_slurm": EXTRA.format("slurm"),
    "submitit_local": EXTRA.format("slurm"),
}
"""Launcher → how to install it."""

MOVED = {
    "choice": "variant/choice_margin",
    "departure": "variant/tnn_departures",
    "linear_data": "variant/linear_margin",
    "polar": "variant/polar_margin",
    "trainer": "variant/cluster_trainers",
    "training": "variant/tnn_implicit_rank",
}
"""Former name of a group → where it is now."""
RENAMED_OPTIONS = {"authors": "released_code", "clean": "theory"}
"""Former name of an option → its name now."""


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Return one line for an error of composition (Hydra, OmegaConf) or of the suite."""
    return shown(_explained(error, overrides))


def _explained(error: Exception, overrides: Sequence[str]) -> str:
    text = " ".join(str(cause) for cause in (error, error.__cause__) if cause)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, text)
    written = next((o for o in overrides if o.split("=")[0].lstrip("+~") == "experiment"), None)
    if written and not written.startswith("+") and "experiment" in text:
        return f"{written}: needs a plus, +{written}"
    if match := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, option = match.groups()
        if group == "hydra/launcher" and option in ADDED_BY:
            return f"launcher={option}: is not installed; {ADDED_BY[option]}"
        known = re.findall(r"^\t(\S+)$", str(error), re.MULTILINE)  # Hydra's message lists them
        hint = suggestion(option, known, RENAMED_OPTIONS)
        return f"{group}={option}: unknown option{hint}; known: {', '.join(known)}"
    if match := re.search(r"An item is already at '([^']+)'", text):
        word = _written(match[1], [o for o in overrides if o.startswith("+")])
        return f"{word}: is already set; write it without the plus"
    if match := re.search(r"Could not (?:override|delete|append|find).*?'([^']+)'", text):
        inner = re.search(r"full_key: (\S+)", text)
        return _unknown_key(match[1].lstrip("+"), inner[1] if inner else match[1].lstrip("+"), overrides)
    return " ".join(text.split())


def _written(key: str, overrides: Sequence[str]) -> str:
    """Return the last override of a key, without its plus; ``key=?`` for a deletion without a value."""
    same = [o.lstrip("+~") for o in overrides if o.lstrip("+~").split("=")[0] == key]
    return same[-1] if same and "=" in same[-1] else f"{key}=?"


def _unknown_key(typed: str, key: str, overrides: Sequence[str]) -> str:
    """Return the message for an override of ``typed``, whose first unknown key is ``key``."""
    word = _written(typed, overrides)
    if typed in MOVED:
        return f"{word}: is now {MOVED[typed]}{word.removeprefix(typed)}"
    if key.startswith(f"{typed}."):  # inside a mapping
        word = f"{key}={_inside(word, key.removeprefix(f'{typed}.').split('.'))}"
    parent, _, last = key.rpartition(".")
    known = _known_keys(parent, [o for o in overrides if o.lstrip("+~").split("=")[0] != typed])
    if known is None:
        return f"{word}: {parent} is a single value, without keys"
    if last in known:  # with the first value of each sweep
        return f"{word}: some swept options of {parent} lack this key; choose one option, {parent}=NAME"
    addable = _addable(parent)
    if last in addable or parent == "optimizer.arguments":
        return f"{word}: is not set yet; write it with a plus, +{word}"
    known = list(dict.fromkeys([*known, *addable]))
    return f"{word}: unknown key{suggestion(last, known)}; known: {', '.join(known)}"


def _inside(word: str, path: Sequence[str]) -> str:
    """Return the value at a path of an override's mapping; ``?`` for several values."""
    (override,) = OverridesParser.create().parse_overrides([word])
    value = override.value()
    for key in path:
        value = {str(k): v for k, v in value.items()}.get(key, "?") if isinstance(value, dict) else "?"
    return shown(value)


def _addable(parent: str) -> list[str]:
    """Return the keys that a plus can add below ``parent``: measurements and their arguments."""
    group, _, name = parent.partition(".")
    if group != "measurements":
        return []
    known = components.names(group)
    if name in known:
        return [*parameters(components.component(group, name)), "when"]
    return [] if name else known


def _unreadable(word: str, text: str) -> str:
    """Return why Hydra's grammar cannot read an override, and how to write it."""
    key, equals, value = word.partition("=")
    name = key.lstrip("+~")
    if not equals:
        hint = f"; choose the experiment with +experiment={word}" if word in experiments.names() else ""
        return f"{word}: must be key=value{hint}"
    if not re.fullmatch(r"[\w.$/@:-]+", name, re.ASCII):
        known = _known_keys("", []) or []
        return f"{word}: unknown key{nearest(name, known)}; known: {', '.join(known)}"
    if any(value.count(left) != value.count(right) for left, right in ("[]", "{}", "()")) or value.count('"') % 2:
        return f"{word}: unclosed bracket or quote; close it, or quote the value: {cli.with_quotes(word)}"
    if match := re.search(r"Unknown function '(\w+)'\s+Available: (\S+)", text):
        functions = match[2].split(",")
        hint = nearest(match[1], functions)
        return f"{word}: unknown function{hint}; known: {', '.join(functions)}; as text: {cli.with_quotes(word)}"
    return f"{word}: cannot be read; quote a value with such characters: {cli.with_quotes(word)}"


def _known_keys(parent: str, overrides: Sequence[str]) -> list[str] | None:
    """Return the keys below ``parent`` in the config that ``overrides`` compose; None for a single value."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(components.CONF), version_base="1.3"):
            cfg = compose("config", overrides=first_of_sweeps(overrides), return_hydra_config=True)
        node = OmegaConf.select(cfg, parent) if parent else cfg
    except Exception:
        return []
    if node is None or isinstance(node, DictConfig):
        return [] if node is None else [str(key) for key in node if parent or key != "hydra"]
    return None
