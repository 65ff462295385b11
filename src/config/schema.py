"""From a composed Hydra config to checked keyword arguments.

A component is a function; its keyword-only parameters, with their annotations, are the schema of its YAML node.
So a new optimizer is one file and one YAML, and its ranges stand where its formula stands. ``Settings`` is the
schema of the top level in the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import cli
from src.constraints import Count, NonNegative, Positive, Range, Seed, Share
from src.errors import ConfigError, nearest

CONF = Path(__file__).resolve().parents[2] / "conf"
COMPONENT_GROUPS = ("data", "model", "objective", "optimizer")
DESCRIPTION_KEYS = frozenset(
    {"name", "paper", "label", "optional", "profile", "profiles", "size", "vary", "force", "report", "outputs"}
    | {"tracking", "checkpoint_every", "memory"}
)
"""Keys that do not determine a cell's numbers, and so are left out of its identity."""


LOCATIONS = (("data", "folder"),)
"""Keys of groups that say where something is, not what: left out of the identity and of what is recorded."""


LONGEST_NAME = 200
"""Bytes. File systems end at 255, and temporary files beside a folder have a longer name."""


Profile = Literal["smoke", "default", "paper"]


@dataclass(kw_only=True)
class Settings:
    """Top level of a cell's config; the groups in it are checked against their components."""

    name: str
    paper: int | None
    label: str | None
    optional: bool
    profile: Profile
    profiles: dict
    size: dict | None
    vary: dict
    seeds: list[Seed]
    steps: Count
    snapshots: Count | list[Share]
    batch_size: Count | None
    matched_loss: Positive | None
    stop: dict
    data: dict
    model: dict
    objective: dict
    optimizer: dict
    measurements: dict
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["float64", "float32"]
    threads: Count
    memory: Positive | None
    together: Count | None
    outputs: str
    force: bool
    report: bool
    checkpoint_every: NonNegative
    tracking: dict


@dataclass(kw_only=True)
class Stop:
    """When a member has converged; null criteria are not asked. See ``src/training/stopping.py``."""

    slackness: Positive | None
    flatness: Positive | None
    log_risk: float | None
    every: Count


@dataclass(kw_only=True)
class Tracking:
    """The W&B mirror."""

    mode: Literal["offline", "online", "disabled"]
    project: str


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain containers, checked at the top level.

    Raises:
        ConfigError: for an interpolation that does not resolve, or a key, type or value that is not allowed.
    """
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        if own := re.fullmatch(r"ConfigError raised while resolving interpolation: (\w+)=(.*?): (.*)", first):
            raise ConfigError(*own.groups()) from error
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError(key, "?", re.sub(r"^\w+ raised while resolving interpolation: ", "", first)) from error
    config.pop("hydra", None)
    checked = check("", config, Settings)
    checked["label"] = _one_word(checked["label"])
    _check_names(checked)
    _check_seeds(checked)
    if checked["device"] == "auto":  # resolved here, since a GPU's last digits are not a CPU's
        import torch

        checked["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    checked["stop"] = check("stop", checked["stop"], Stop)
    checked["outputs"] = str(cli.path(checked["outputs"], "outputs"))
    checked["tracking"] = check("tracking", checked["tracking"], Tracking)
    project_name(checked["tracking"]["project"], "tracking.project")
    return checked


def project_name(name: str, key: str) -> str:
    """Return the name of a W&B project.

    Raises:
        ConfigError: for a name that W&B refuses.
    """
    if not name.strip() or len(name) > 128 or set(name) & set("/\\#?%:"):
        raise ConfigError(key, name, "must be a name of at most 128 characters without / \\ # ? % :")
    return name


def _one_word(label: str | None) -> str | None:
    """A label with its lists as plain words, ``[0.1, 0.2]`` as ``0.1,0.2``, and short enough for the name of a folder.

    >>> _one_word("muon_eta=[0.1, 0.2]")
    'muon_eta=0.1,0.2'
    """
    if label is None:
        return None
    plain = re.sub(r"\[.*\]", lambda found: re.sub(r"[\[\]'\" ]", "", found[0]), label)
    return plain.encode()[:100].decode(errors="ignore")


def _check_names(config: Mapping[str, Any]) -> None:
    """The parts of a cell's path are plain names: nothing is written outside ``outputs``."""
    if len(config["name"].encode()) > LONGEST_NAME:
        raise ConfigError("name", config["name"], f"must be at most {LONGEST_NAME} bytes long: it names a folder")
    for key in ("name", "label"):
        if config[key] is not None and not re.fullmatch(r"\w[\w.=+,-]*", config[key]):
            raise ConfigError(key, config[key], "must be a name of letters, digits and _ . = + -")
    if not config["outputs"].strip():
        raise ConfigError("outputs", config["outputs"], "must be a folder")


def _check_seeds(config: Mapping[str, Any]) -> None:
    seeds = config["seeds"]
    if not seeds:
        raise ConfigError("seeds", seeds, "needs at least one seed")
    per_member = any(isinstance(value, list) for value in config["optimizer"].values())
    if len(set(seeds)) < len(seeds) and not per_member:
        raise ConfigError("seeds", seeds, "a seed stands twice: its members would be copies, not replicates")


def identity(config: Mapping[str, Any]) -> str:
    """Ten hex digits of what determines a cell's numbers: the resolved config less ``DESCRIPTION_KEYS``.

    A key of the top level that is null asks for nothing: cells from before there was such a key stay the same.
    """
    whole = without_locations(config)
    numbers = {key: value for key, value in whole.items() if key not in DESCRIPTION_KEYS and value is not None}
    return hashlib.sha256(json.dumps(_canonical(numbers), sort_keys=True).encode()).hexdigest()[:10]


def without_locations(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without the keys of ``LOCATIONS``: the sha256 of what was read there is in the cell's provenance."""
    located = dict(config)
    for group, key in LOCATIONS:
        located[group] = {name: value for name, value in located[group].items() if name != key}
    return located


def folder(config: Mapping[str, Any]) -> Path:
    """Where the cell lives: ``<outputs>/<experiment>/<label, for people>-<identity>``."""
    return Path(config["outputs"]) / config["name"] / "-".join(filter(None, [config["label"], identity(config)]))


def component(group: str, name: str) -> Callable:
    """The ``build`` function of ``src/<group>/<name>.py``; objectives are functions of ``src/training/objectives.py``.

    Raises:
        ConfigError: when there is no such component.
    """
    known = known_components(group)
    if name not in known:
        key = f"{group}.{name}" if group == "measurements" else f"{group}.name"
        raise ConfigError(key, name, f"unknown{nearest(name, known)}; known: {', '.join(sorted(known))}")
    if group == "objective":
        return getattr(importlib.import_module("src.training.objectives"), name)
    return importlib.import_module(f"src.{_package(group)}.{name}").build


def known_components(group: str) -> list[str]:
    """The names of the components of a group."""
    if group == "objective":
        return [path.stem for path in (CONF / "objective").glob("*.yaml")]
    folder = Path(__file__).parents[1] / _package(group)
    return [path.stem for path in folder.glob("*.py") if "\ndef build(" in path.read_text(encoding="utf-8")]


def _package(group: str) -> str:
    return group if group in ("data", "measurements") else f"{group}s"


def arguments(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Checked keyword arguments for the component that ``node['name']`` names."""
    if "name" not in node:
        raise ConfigError(f"{group}.name", "?", f"missing; choose with {group}=OPTION")
    rest = {key: value for key, value in node.items() if key != "name"}
    return check(group, rest, component(group, node["name"]), also=("name",))


def parameters(schema: Callable) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a component: the keys of its node."""
    found = inspect.signature(schema).parameters
    return {name: one for name, one in found.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}


def check(path: str, node: Mapping[str, Any], schema: Callable, also: Iterable[str] = ()) -> dict[str, Any]:
    """``node`` as keyword arguments for ``schema``: every key known, every value of its type and in its range.

    Raises:
        ConfigError: naming the key as written on the command line, the value, and what is allowed.
    """
    hints = typing.get_type_hints(schema, include_extras=True)
    keys = parameters(schema)
    prefix = f"{path}." if path else ""
    for key, value in node.items():
        if key not in keys:
            known = [*keys, *also]
            raise ConfigError(
                prefix + str(key), value, f"unknown key{nearest(str(key), known)}; known: {', '.join(known)}"
            )
    for name, parameter in keys.items():
        if name not in node and parameter.default is inspect.Parameter.empty:
            raise ConfigError(prefix + name, "?", f"missing; must be {_describe(hints[name])}")
    return {name: _convert(prefix + name, value, hints[name]) for name, value in node.items()}


def _convert(key: str, value: Any, hint: Any) -> Any:
    """``value`` as ``hint`` asks for it, or a ConfigError."""
    ranges = [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Range)]
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    try:
        converted = _as_type(key, value, kind)
    except _OtherTypeError as error:
        raise ConfigError(key, value, f"must be {_describe(hint)}") from error
    values = converted if isinstance(converted, list) else [converted]
    if any(isinstance(v, int | float) and v not in allowed for allowed in ranges for v in values):
        raise ConfigError(key, value, f"must be {_describe(hint)}")
    return converted


class _OtherTypeError(TypeError):
    """The value is not of the type asked for."""


def _as_type(key: str, value: Any, kind: Any) -> Any:
    """``value`` as ``kind``: whole floats pass for integers, integers for floats, booleans for neither."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for option in options:
            with contextlib.suppress(ConfigError):
                return _convert(key, value, option)
        raise _OtherTypeError
    if origin is Literal:
        if value in options and not isinstance(value, bool):
            return value
        hint = nearest(value, map(str, options)) if isinstance(value, str) else ""
        raise ConfigError(key, value, f"must be one of {', '.join(map(str, options))}{hint}")
    if origin is list:
        if not isinstance(value, list):
            raise _OtherTypeError
        return [_convert(f"{key}[{i}]", item, options[0]) for i, item in enumerate(value)]
    if origin is dict:
        kind = dict
    if kind is Any:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise _OtherTypeError
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is type(None):
        if value is None:
            return None
        raise _OtherTypeError
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise _OtherTypeError


def _describe(hint: Any) -> str:
    """A hint in words a user understands: 'an integer >= 1'."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = [str(item) for item in hint.__metadata__ if isinstance(item, Range)]
        return " ".join([_describe(options[0]), *ranges])
    if origin is Literal:
        return f"one of {', '.join(map(str, options))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in options)
    if origin is list:
        return f"a list, each {_describe(options[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a word", type(None): "null"}
    return words.get(hint, "a mapping")


def _canonical(value: Any) -> Any:
    """1.0 and 1 are the same number however they were written."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
