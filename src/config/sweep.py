"""The cells of an experiment, as Hydra's own sweeper would lay them out; composes, runs nothing, needs no torch."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from omegaconf import DictConfig, OmegaConf

from src.config import resolvers, schema, yaml_files
from src.errors import ConfigError

resolvers.register()

CHOOSING = ("launcher=", "hydra/launcher=", "hydra.launcher.")
"""How overrides that choose a launcher begin."""

OVERHEAD = 1e6
"""Of a step, in products: calls into torch are all that a step of a small linear model costs."""
IMAGE = 200
"""Inputs of an image, about."""


def experiments(paper: int) -> list[str]:
    """The experiments of a paper, by what their files say; one line names each damaged file of another.

    Raises:
        ConfigError: for a paper that has none, or for a damaged file with the number of this paper in it.
    """
    papers = {}
    for path in sorted((schema.CONF / "experiment").glob("*.yaml")):
        try:
            papers[path.stem] = _experiment(path).get("paper")
        except ConfigError as error:
            if path.is_file() and re.search(rf"^paper:\s*{paper}\b", path.read_text("latin-1"), re.MULTILINE):
                raise
            logging.getLogger(__name__).warning("left out: %s", error)
    found = sorted(name for name, its_paper in papers.items() if its_paper == paper)
    if not found:
        known = ", ".join(map(str, sorted({number for number in papers.values() if number}, key=str)))
        raise ConfigError("paper", paper, f"must be one of {known}")
    return found


def _experiment(path: Path) -> dict[str, Any]:
    return yaml_files.read(path, "experiment", dict, "a mapping of keys to values")


def all_experiments() -> list[str]:
    """The names of all experiments."""
    return sorted(path.stem for path in (schema.CONF / "experiment").glob("*.yaml"))


def profile_only(*, profile: schema.Profile) -> None:
    """Schema of the one key the sizes of an experiment hang on."""


def expand(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The checked configs of every cell of ``overrides``, e.g. ``["+experiment=cluster_width", "profile=smoke"]``."""
    return [config for _, config in jobs(overrides)]


def jobs(overrides: Sequence[str]) -> list[tuple[list[str], dict[str, Any]]]:
    """Of every cell, the overrides that alone compose it, and its checked config."""
    parsed = _parsed(overrides)
    _refuse_several_for_one(parsed)
    _check_file(parsed)
    GlobalHydra.instance().clear()
    start = _laid_out(parsed)[0]
    _refuse_what_is_no_option(start)
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        whole = compose("config", overrides=start, return_hydra_config=True)
        laid_out = _laid_out([*_parsed(_own_sweep(whole)), *parsed])
        return [(job, schema.plain(compose("config", overrides=job))) for job in laid_out]


def first(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The first cell's checked config, and what its experiment sweeps: key of the config → values, in their order.

    A swept group counts as the name of its option; what only selects other keys, as the label.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        whole = compose("config", overrides=list(overrides), return_hydra_config=True)
        parsed = _parsed(_own_sweep(whole))
        start = _laid_out(parsed)[0]
        config = schema.plain(compose("config", overrides=[*start, *overrides]))
    swept = {}
    for override in parsed:
        if not override.is_sweep_override():
            continue
        key = override.key_or_group
        name = key if "." in key else f"{key}.name" if key in schema.COMPONENT_GROUPS else "label"
        swept[name] = [yaml.safe_load(value) for value in override.sweep_string_iterator()]
    return config, {name: values for name, values in swept.items() if len(values) > 1}


def other_protocol(configs: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> dict[str, str]:
    """Of the groups whose options in the cells of an experiment are none of its own: the two, in words.

    Claims are made for the data, model, objective, optimizer and protocol that an experiment's file names or sweeps.
    Other values of their keys are the same protocol, with other numbers.
    """
    name, profile = configs[0]["name"], configs[0]["profile"]
    chosen = {word.key_or_group.removesuffix(".name"): word for word in _parsed(overrides) if not word.is_delete()}
    apart = {"experiment", "launcher", "measurements", "claims", "deviations"}  # do not change how a network is trained
    chosen = {group: chosen[group] for group in sorted((_groups() - apart) & set(chosen))}
    if not chosen:
        return {}
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        own = compose("config", overrides=[f"+experiment={name}", f"profile={profile}"], return_hydra_config=True)
        swept = _parsed(_own_sweep(own))
    options = {word.key_or_group: set(word.sweep_string_iterator()) for word in swept if word.is_sweep_override()}
    reasons = {}
    for group, word in chosen.items():
        if group in schema.COMPONENT_GROUPS:
            found = {config[group]["name"] for config in configs}
        else:
            found = set(word.sweep_string_iterator()) if word.is_sweep_override() else {str(word.value())}
        known = options.get(group) or {own.hydra.runtime.choices.get(group)}
        if others := found - known:
            reasons[group] = f"{group}={','.join(sorted(map(str, known)))}, not for {','.join(sorted(others))}"
    return reasons


def _groups() -> set[str]:
    """The groups of ``conf/``."""
    return {path.name for path in schema.CONF.iterdir() if path.is_dir()}


def _own_sweep(whole: DictConfig) -> list[str]:
    """What the experiment itself sweeps, as words of the command line.

    The profile is checked first, since nothing that an unknown one sizes would resolve.
    """
    schema.check("", {"profile": whole.profile}, profile_only)
    params = whole.hydra.sweeper.params
    return [f"{key}={value}" for key, value in OmegaConf.to_container(params, resolve=True).items()] if params else []


def cost(config: Mapping[str, Any]) -> float:
    """Relative work of a cell: steps · (what a step costs at least + seeds · examples · inputs · neurons · layers).

    1 for a cell whose groups hold what is no number: it will be refused.
    """
    data, model = config["data"], config["model"]
    sizes = [data.get("n", 1), data.get("k", 1), model.get("width", 1), model.get("depth", 1)]
    if not all(isinstance(size, int | float) for size in sizes):
        return 1
    examples = config["batch_size"] or data.get("n", 1)
    inputs = data["n"] + data["k"] if "k" in data else IMAGE  # clusters come in coordinates of their own
    layers = model.get("width", 1) * model.get("depth", 1)
    return config["steps"] * (OVERHEAD + len(config["seeds"]) * examples * inputs * layers)


def _refuse_several_for_one(parsed: Sequence[Override]) -> None:
    """Refuse several values where one is meant.

    The grid is laid out by one experiment in one size, so these are not swept; and Hydra merges the options of a list,
    ``optimizer=[adam,muon]``, into one that is neither. Sets of measurements may be merged.
    """
    groups = _groups() - {"measurements"}
    if len(named := [override for override in parsed if override.key_or_group == "experiment"]) > 1:
        names = ",".join(override.input_line.partition("=")[2] for override in named)
        raise ConfigError("experiment", names, "one at a time; a shell loop runs several")
    for override in parsed:
        name, value = override.key_or_group, override.input_line.partition("=")[2]
        if name in ("experiment", "profile") and (override.is_sweep_override() or override.package):
            raise ConfigError(name, value, "one at a time; a shell loop runs several")
        given = override.value()
        choices = given.list if isinstance(given, ChoiceSweep) else [given]
        if name in groups and any(isinstance(choice, list) for choice in choices):
            swept = "" if name == "experiment" else f"; {name}=A,B runs one cell with each"
            raise ConfigError(name, value, f"must be one name, not a list{swept}")


def _check_file(parsed: Sequence[Override]) -> None:
    """Of an empty file of an experiment, or of a list, Hydra makes something that names no file."""
    for override in parsed:
        if override.key_or_group == "experiment" and str(override.value()) in all_experiments():
            _experiment(schema.CONF / "experiment" / f"{override.value()}.yaml")


def damaged_file() -> ConfigError | None:
    """What is wrong with the first file of the configuration that is not YAML, for errors that name no file."""
    for path in sorted(schema.CONF.rglob("*.yaml")):
        try:
            yaml_files.read(path, path.parent.name, object, "anything")
        except ConfigError as error:
            return error
    return None


def _refuse_what_is_no_option(overrides: Sequence[str]) -> None:
    """A group takes the name of an option, or a mapping of keys."""
    for override in _parsed(overrides):
        key, value = override.key_or_group, override.value()
        if not key:
            raise ConfigError(key, value, "must be key=value")
        if override.is_delete() or isinstance(value, dict) or not (schema.CONF / key).is_dir():
            continue
        if not all(isinstance(option, str) for option in (value if isinstance(value, list) else [value])):
            raise ConfigError(key, value, "must be a string, the name of one option")


def first_of_sweeps(overrides: Sequence[str]) -> list[str]:
    """Overrides for a single composition: of a sweep, its first value."""
    return _laid_out(_parsed(overrides))[0]


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them; ``glob`` looks up the options of a group."""
    loader = ConfigLoaderImpl(create_config_search_path(str(schema.CONF)))
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def _laid_out(parsed: Sequence[Override]) -> list[list[str]]:
    """The overrides of every cell.

    Raises:
        ConfigError: for a sweep without a value, or over all numbers of an interval.
    """
    for override in parsed:
        key, _, value = override.input_line.partition("=")
        if not override.is_sweep_override():
            continue
        if not override.is_discrete_sweep():
            raise ConfigError(key, value, "a grid takes single values: a,b,c or range(START,STOP,STEP)")
        if not any(True for _ in override.sweep_iterator()):
            raise ConfigError(key, value, "matches no value, so that there is no cell")
    return BasicSweeper.split_arguments(list(parsed), max_batch_size=None)[0]
