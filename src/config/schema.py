"""The typed configuration of a cell, its identity and its folder. No torch here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict

from src import cli
from src.config import own_files
from src.config.components import CONF, GROUPS, component
from src.config.papers import Paper
from src.config.validation import Node, Tree, model_of, validated, whole
from src.constraints import Count, NonNegative, Positive, Seed, Share
from src.errors import ConfigError

DESCRIPTION_KEYS = frozenset(
    {"name", "paper", "label", "profile", "profiles", "sweep", "vars", "force", "report", "outputs"}
    | {"tracking", "checkpoint_every", "memory_gb", "epochs", "time"}
)
"""Keys that do not affect a cell's numbers, and so are left out of its identity."""

LOCATIONS = (("data", "folder"), ("data", "path"))
"""Keys of groups that are locations of files: left out of the identity and of the recorded config."""

LONGEST_NAME = 200
"""In bytes. File systems allow 255, and the names of temporary files are longer."""

Profile = Literal["smoke", "default", "paper"]


class Stop(Node):
    """Criteria for convergence of a member; null ones are ignored. See ``src/training/stopping.py``."""

    slackness: Positive | None
    flatness: Positive | None
    log_risk: float | None
    check_every: Count


class Tracking(Node):
    """Settings of the W&B run."""

    mode: Literal["offline", "online", "disabled"]
    project: str


class Profiles(Node):
    """Keys that each profile changes, with their values."""

    smoke: dict
    default: dict
    paper: dict


class Component(Node):
    """The name of a component and its arguments, which ``arguments`` checks."""

    model_config = ConfigDict(extra="allow")

    name: str


class Config(Node):
    """Top level of a cell's configuration; ``conf/config.yaml`` explains the keys."""

    name: str
    paper: Paper | None
    label: str | None
    profile: Profile
    profiles: Profiles
    sweep: dict
    vars: dict
    seeds: list[Seed]
    steps: Count
    epochs: Positive | None
    time: Positive | None
    log_points: Count | list[Share]
    batch_size: Count | None
    compare_at_loss: list[Positive]
    stop: Stop
    data: Component
    model: Component
    objective: Component
    optimizer: Component
    measurements: dict
    files: dict | None = None
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["float64", "float32"]
    threads: Count
    memory_gb: Positive | None
    outputs: str
    force: bool
    report: bool
    checkpoint_every: NonNegative
    tracking: Tracking

    @property
    def folder(self) -> Path:
        """The cell's folder: ``<outputs>/<experiment>/<label>-<identity>``."""
        return Path(self.outputs) / self.name / "-".join(filter(None, [self.label, identity(self.model_dump())]))


def option(group: str, name: str) -> Component:
    """Return the component of ``conf/<group>/<name>.yaml`` by itself, as without an experiment."""
    node = OmegaConf.load(CONF / group / f"{name}.yaml")
    return Component(**OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]


def resolved(cfg: DictConfig) -> Tree:
    """Return a composed config as plain containers, without Hydra's own node.

    Raises:
        ConfigError: for an interpolation that does not resolve.
    """
    try:
        node: Any = OmegaConf.to_container(cfg, resolve=True)  # a missing value is ???
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        if nested := re.fullmatch(r"ConfigError raised while resolving interpolation: (\w+)=(.*?): (.*)", first):
            raise ConfigError(*nested.groups()) from error
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError(key, "?", re.sub(r"^\w+ raised while resolving interpolation: ", "", first)) from error
    return {key: value for key, value in node.items() if key != "hydra"}


def typed(node: Tree) -> Config:
    """Return the checked config of a composed node.

    Raises:
        ConfigError: for a key, type or value that is not allowed.
    """
    for group in GROUPS:
        if isinstance(node.get(group), Mapping) and "name" not in node[group]:
            raise ConfigError(f"{group}.name", "?", f"missing; choose with {group}=OPTION")
    config = validated("", _with_steps(node), Config)
    if not config.outputs.strip():
        raise ConfigError("outputs", config.outputs, "must be a folder")
    config = config.model_copy(
        update={
            "label": _one_word(config.label),
            "compare_at_loss": sorted(config.compare_at_loss, reverse=True),
            "outputs": str(cli.path(config.outputs, "outputs")),
            "device": _present_device() if config.device == "auto" else config.device,
            "files": own_files.digests(node),
        }
    )
    _check_names(config)
    _check_seeds(config)
    project_name(config.tracking.project, "tracking.project")
    return config


def _with_steps(node: Tree) -> Tree:
    """Return a composed node with the number of steps in place of a null.

    An epoch has ⌈n / batch_size⌉ steps. The ``time`` T of gradient flow is T/η steps of gradient descent at the
    constant learning rate η.

    Raises:
        ConfigError: if both are set, or if a key they depend on is not a number.
    """
    key, *others = [key for key in ("epochs", "time") if node.get(key) is not None] or [""]
    if not key or node.get("steps", "deleted") is not None:
        return node
    if others:
        raise ConfigError("time", node["time"], "must be null if epochs is set: one of them sets the steps")
    needed = {"epochs": ("epochs", "data.n", "batch_size"), "time": ("time", "optimizer.lr")}[key]
    numbers = {path: _at(node, path) for path in needed}
    if key == "epochs" and numbers["batch_size"] is None:
        numbers["batch_size"] = numbers["data.n"]
    for path, number in numbers.items():
        if not isinstance(number, int | float) or not 0 < number < math.inf:
            raise ConfigError(path, number, f"must be a number > 0 to compute steps from {key}; or set steps=COUNT")
    first, second, *third = numbers.values()
    try:
        return {**node, "steps": round(first * math.ceil(second / third[0]) if third else first / second)}
    except OverflowError as error:
        raise ConfigError(key, first, "too many steps") from error


def _at(node: object, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _present_device() -> str:
    """Return the device for ``auto``; it is part of the identity, since a GPU rounds differently from a CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def project_name(name: str, key: str) -> str:
    """Return the name of a W&B project.

    Raises:
        ConfigError: for a name that W&B refuses.
    """
    if not name.strip() or len(name) > 128 or set(name) & set("/\\#?%:"):
        raise ConfigError(key, name, "must be a name of at most 128 characters without / \\ # ? % :")
    return name


def _one_word(label: str | None) -> str | None:
    """Return a label for a folder's name: lists without brackets, ``[0.1, 0.2]`` as ``0.1,0.2``, and shortened.

    >>> _one_word("muon_eta=[0.1, 0.2]")
    'muon_eta=0.1,0.2'
    """
    if label is None:
        return None
    plain = re.sub(r"\[.*\]", lambda match: re.sub(r"[\[\]'\" ]", "", match[0]), label)
    return plain.encode()[:100].decode(errors="ignore")


def _check_names(config: Config) -> None:
    """Raise ConfigError unless the parts of a cell's path are plain names, so that all files stay in ``outputs``."""
    if len(config.name.encode()) > LONGEST_NAME:
        raise ConfigError("name", config.name, f"must be at most {LONGEST_NAME} bytes long, as the name of a folder")
    for key, value in (("name", config.name), ("label", config.label)):
        if value is not None and not re.fullmatch(r"\w[\w.=+,-]*", value):
            raise ConfigError(key, value, "must be a name of letters, digits and _ . = + -")


def _check_seeds(config: Config) -> None:
    seeds = config.seeds
    if not seeds:
        raise ConfigError("seeds", seeds, "needs at least one seed")
    per_member = any(isinstance(value, list) for value in config.optimizer.model_dump().values())
    if len(set(seeds)) < len(seeds) and not per_member:
        raise ConfigError("seeds", seeds, "duplicate seed: the replicates would be identical")


def identity(config: Tree) -> str:
    """Return ten hex digits of a hash of the resolved config without ``DESCRIPTION_KEYS``.

    Null keys of the top level are left out, so that a new optional key keeps the identity of earlier cells.
    """
    recorded = without_locations(config)
    numbers = {key: value for key, value in recorded.items() if key not in DESCRIPTION_KEYS and value is not None}
    return hashlib.sha256(json.dumps(whole(numbers), sort_keys=True).encode()).hexdigest()[:10]


def without_locations(config: Tree) -> Tree:
    """Return the config without ``LOCATIONS``; the provenance has the sha256 of the files that were read."""
    located = dict(config)
    for group, key in LOCATIONS:
        located[group] = {name: value for name, value in located[group].items() if name != key}
    return located


def arguments(group: str, node: Component) -> Tree:
    """Return the checked keyword arguments of the component that ``node.name`` names.

    Raises:
        ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    return options(group, node.model_extra or {}, component(group, node.name), also=("name",))


def options(path: str, node: Tree, of: Callable, also: tuple[str, ...] = ()) -> Tree:
    """Return the keys of a ``node`` as checked keyword arguments ``of`` a component."""
    checked = validated(path, node, model_of(of), also)
    return {key: getattr(checked, key) for key in node}
