"""The cells of an experiment, as Hydra's own sweeper would lay them out; composes, runs nothing, needs no torch."""

from __future__ import annotations

import math
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
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from src import cli
from src import config as configuration
from src.allowed import ConfigError

OVERHEAD = 1e6
"""Of a step, in products: calls into torch are all that a step of a small linear model costs."""
IMAGE = 200
"""Inputs of an image, about."""


def times(*factors: float) -> float:
    """``${times:16,${data.k}}`` in YAML: the product; a whole product of whole numbers stays an integer."""
    product = 1
    for factor in factors:
        product *= factor
    return product


def root(x: float, degree: float) -> float:
    """``${root:11,${optimizer.p}}`` in YAML: x^(1/degree), so that base rates follow the norm they are measured in."""
    if not all(isinstance(number, int | float) for number in (x, degree)) or x <= 0 or degree == 0:
        raise ValueError(f"root:{x},{degree} must be of a number > 0, and of a degree that is not 0")
    return x ** (1 / degree)


def epochs(count: float, examples: int, batch_size: int) -> int:
    """``${epochs:20,${data.n},${batch_size}}`` in YAML: the steps of so many epochs."""
    return round(count * math.ceil(examples / batch_size))


def within(folder: str, path: str) -> str:
    """``${within:${hydra.runtime.cwd},${outputs}}`` in YAML: ``path`` as seen from ``folder``."""
    return str(Path(folder) / cli.path(path, "outputs"))


def steps_in(time: float, lr: float) -> int:
    """``${steps_in:60,${optimizer.lr}}`` in YAML: the steps of gradient descent in a gradient-flow time Σ lr."""
    return round(time / lr)


def wandb_mode(variable: str) -> str:
    """``${wandb_mode:${oc.env:WANDB_MODE,""}}`` in YAML: W&B's own words for a mode, too; offline unless set."""
    meant = {"": "offline", "dryrun": "offline", "run": "online"}
    mode = variable.strip().lower()
    if mode not in {*meant, "online", "offline", "disabled"}:
        raise ConfigError("WANDB_MODE", variable, "must be online, offline or disabled, or dryrun or run, or not set")
    return meant.get(mode, mode)


OmegaConf.register_new_resolver("wandb_mode", wandb_mode, replace=True)
OmegaConf.register_new_resolver("within", within, replace=True)
OmegaConf.register_new_resolver("steps_in", steps_in, replace=True)
OmegaConf.register_new_resolver("epochs", epochs, replace=True)
OmegaConf.register_new_resolver("times", times, replace=True)
OmegaConf.register_new_resolver("root", root, replace=True)


def experiments(paper: int) -> list[str]:
    """The experiments of a paper, by what their files say.

    Raises:
        ConfigError: for a paper that has none.
    """
    folder = configuration.CONF / "experiment"
    papers = {path.stem: yaml.safe_load(path.read_text("utf-8")).get("paper") for path in folder.glob("*.yaml")}
    found = sorted(name for name, its_paper in papers.items() if its_paper == paper)
    if not found:
        known = ", ".join(map(str, sorted({number for number in papers.values() if number})))
        raise ConfigError("paper", paper, f"must be one of {known}")
    return found


def all_experiments() -> list[str]:
    """The names of all experiments."""
    return sorted(path.stem for path in (configuration.CONF / "experiment").glob("*.yaml"))


def profile_only(*, profile: configuration.Profile) -> None:
    """Schema of the one key the sizes of an experiment hang on."""


def expand(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The checked configs of every cell of ``overrides``, e.g. ``["+experiment=cluster_width", "profile=smoke"]``."""
    return [config for _, config in jobs(overrides)]


def jobs(overrides: Sequence[str]) -> list[tuple[list[str], dict[str, Any]]]:
    """Of every cell, the overrides that alone compose it, and its checked config."""
    _refuse_sweeps_over_experiments(overrides)
    GlobalHydra.instance().clear()
    start = first_of_sweeps(overrides)
    _refuse_what_is_no_option(start)
    with initialize_config_dir(str(configuration.CONF), version_base="1.3"):
        whole = compose("config", overrides=start, return_hydra_config=True)
        laid_out = _laid_out(_parsed(_own_sweep(whole) + list(overrides)))
        return [(job, configuration.plain(compose("config", overrides=job))) for job in laid_out]


def first(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The first cell's checked config, and what its experiment sweeps: key of the config → values, in their order.

    A swept group counts as the name of its option; what only selects other keys, as the label.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configuration.CONF), version_base="1.3"):
        whole = compose("config", overrides=list(overrides), return_hydra_config=True)
        parsed = _parsed(_own_sweep(whole))
        start = _laid_out(parsed)[0]
        config = configuration.plain(compose("config", overrides=[*start, *overrides]))
    swept = {}
    for override in parsed:
        if not override.is_sweep_override():
            continue
        key = override.key_or_group
        name = key if "." in key else f"{key}.name" if key in configuration.COMPONENT_GROUPS else "label"
        swept[name] = [yaml.safe_load(value) for value in override.sweep_string_iterator()]
    return config, {name: values for name, values in swept.items() if len(values) > 1}


def _own_sweep(whole: DictConfig) -> list[str]:
    """What the experiment itself sweeps, as words of the command line.

    The profile is checked first, since nothing that an unknown one sizes would resolve.
    """
    configuration.check("", {"profile": whole.profile}, profile_only)
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


def _refuse_sweeps_over_experiments(overrides: Sequence[str]) -> None:
    """The grid is laid out by one experiment in one size: several at a time would each get the first one's."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group in ("experiment", "profile") and override.is_sweep_override():
            one = "one at a time; a shell loop runs several"
            raise ConfigError(override.key_or_group, override.input_line.split("=", 1)[1], one)


def _refuse_what_is_no_option(overrides: Sequence[str]) -> None:
    """A group takes the name of an option, or a mapping of keys; a list would merge the options into a hybrid."""
    for override in _parsed(overrides):
        key, value = override.key_or_group, override.value()
        if not key:
            raise ConfigError(key, value, "must be key=value")
        if override.is_delete() or isinstance(value, str | dict) or not (configuration.CONF / key).is_dir():
            continue
        if not isinstance(value, list) or key in configuration.COMPONENT_GROUPS or not all(map(_is_text, value)):
            raise ConfigError(key, value, "must be a string, the name of one option")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def first_of_sweeps(overrides: Sequence[str]) -> list[str]:
    """Overrides for a single composition: of a sweep, its first value."""
    return _laid_out(_parsed(overrides))[0]


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them; ``glob`` looks up the options of a group."""
    loader = ConfigLoaderImpl(create_config_search_path(str(configuration.CONF)))
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
