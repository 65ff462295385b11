"""List the cells of an experiment in the order of Hydra's sweeper, without running them. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from src.config import cache, components, experiments, hydra_internals, overrides, resolvers, schema
from src.config.schema import Config
from src.config.validation import Node, Tree, validated
from src.errors import ConfigError

resolvers.register()

CHOOSING = ("launcher=", "hydra/launcher=", "hydra.launcher.")
"""Beginnings of overrides that choose a launcher."""

OVERHEAD = 1e6
"""Cost of any step, in multiplications: calls of torch dominate a step of a small linear model."""
IMAGE = 200
"""Approximate number of inputs of an image."""


class Layout(Node):
    """The keys that define the cells of an experiment."""

    profile: schema.Profile
    profiles: schema.Profiles
    sweep: dict

    @property
    def patch(self) -> Tree:
        """The keys that the chosen profile sets, with unresolved interpolations."""
        return getattr(self.profiles, self.profile)

    @property
    def lists(self) -> dict[str, list]:
        """Swept key or group → values. Lists of the chosen profile replace those of the experiment."""
        return {**self.sweep, **self.patch.get("sweep", {})}


def expand(words: Sequence[str]) -> list[Config]:
    """Return the checked configs of all cells of ``words``, e.g. ``["+experiment=cluster_width", "profile=smoke"]``."""
    return [config for _, config in jobs(words)]


def jobs(words: Sequence[str]) -> list[tuple[list[str], Config]]:
    """Return, for every cell, the overrides that compose it and its checked config."""
    parsed = overrides.parsed(words)
    overrides.refuse_several_for_one(parsed)
    experiments.check_file(parsed)
    composed = cache.recall(words, lambda: _composed(parsed))
    return [(job, schema.typed(node)) for job, node in composed]


def _composed(parsed: Sequence[Override]) -> list[tuple[list[str], Tree]]:
    """Return, for every cell, its overrides and the node they compose, with all interpolations resolved."""
    GlobalHydra.instance().clear()
    start = overrides.grid(parsed)[0]
    overrides.refuse_what_is_no_option(overrides.parsed(start))
    with initialize_config_dir(str(components.CONF), version_base="1.3"):
        composed = hydra_internals.composer(components.CONF)
        cells = overrides.grid([*overrides.parsed(_own_words(composed(start))), *parsed])
        return [(job, schema.resolved(composed(job))) for job in cells]


def first(words: Sequence[str]) -> tuple[Config, dict[str, list]]:
    """Return the first cell's checked config, and the experiment's sweep: key of the config → values, in their order.

    A swept component has the key ``<group>.name``; a sweep that is no single key of the config has the key ``label``.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(components.CONF), version_base="1.3"):
        composed = hydra_internals.composer(components.CONF)
        whole = composed(words)
        start = overrides.grid(overrides.parsed(_own_words(whole)))[0]
        config = schema.typed(schema.resolved(composed([*start, *words])))
    swept = {}
    for key, values in _layout(whole).lists.items():
        swept[key if "." in key else f"{key}.name" if key in components.GROUPS else "label"] = values
    return config, {name: values for name, values in swept.items() if len(values) > 1}


def other_protocol(configs: Sequence[Config], words: Sequence[str]) -> dict[str, str]:
    """Return group → a sentence, for groups whose options differ from those of the experiment's file.

    Claims are made for the data, model, objective, optimizer and protocol that an experiment's file names or sweeps.
    Other values of their keys do not count as another protocol.
    """
    name, profile = configs[0].name, configs[0].profile
    chosen = {word.key_or_group.removesuffix(".name"): word for word in overrides.parsed(words) if not word.is_delete()}
    apart = {"experiment", "launcher", "measurements", "claims", "deviations"}  # do not change how a network is trained
    chosen = {group: chosen[group] for group in sorted((overrides.groups() - apart) & set(chosen))}
    if not chosen:
        return {}
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(components.CONF), version_base="1.3"):
        original = compose("config", overrides=[f"+experiment={name}", f"profile={profile}"], return_hydra_config=True)
        swept = overrides.parsed(_own_words(original))
    options = {word.key_or_group: set(word.sweep_string_iterator()) for word in swept if word.is_sweep_override()}
    reasons = {}
    for group, word in chosen.items():
        if group in components.GROUPS:
            used = {getattr(config, group).name for config in configs}
        else:
            used = set(word.sweep_string_iterator()) if word.is_sweep_override() else {str(word.value())}
        known = options.get(group) or {original.hydra.runtime.choices.get(group)}
        if others := used - known:
            reasons[group] = f"{group}={','.join(sorted(map(str, known)))}, not for {','.join(sorted(others))}"
    return reasons


def _layout(whole: DictConfig) -> Layout:
    """Return the checked layout of a composed experiment.

    Raises:
        ConfigError: for an unknown profile, or swept values that are not a list.
    """
    keys = [key for key in Layout.model_fields if key in whole]
    layout = validated("", OmegaConf.to_container(OmegaConf.masked_copy(whole, keys)), Layout)
    for key, values in layout.lists.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"sweep.{key}", values, "must be a list of values")
    return layout


def patch_words(whole: DictConfig) -> list[str]:
    """Return the keys that the chosen profile sets, as words of the command line."""
    return overrides.words({key: value for key, value in _layout(whole).patch.items() if key != "sweep"})


def _own_words(whole: DictConfig) -> list[str]:
    """Return the keys that an experiment sets and sweeps in its profile, as words of the command line."""
    lists = _layout(whole).lists.items()
    return [*patch_words(whole), *(f"{key}={','.join(map(overrides.value_text, values))}" for key, values in lists)]


def cost(config: Config) -> float:
    """Return the relative work of a cell: steps · (cost of any step + seeds · examples · inputs · neurons · layers).

    The cost is 1 if a size is not a number; such a cell is refused later.
    """
    unset = {"n": 1, "k": 0, "width": 1, "depth": 1}
    data, model = (unset | (node.model_extra or {}) for node in (config.data, config.model))
    sizes = [data["n"], data["k"], model["width"], model["depth"]]
    if not all(isinstance(size, int | float) for size in sizes):
        return 1
    examples = config.batch_size or data["n"]
    inputs = data["n"] + data["k"] if data["k"] else IMAGE  # clusters have reduced coordinates
    layers = model["width"] * model["depth"]
    return config.steps * (OVERHEAD + len(config.seeds) * examples * inputs * layers)
