"""Typed nodes of the configuration: pydantic models, and their errors as one line. No torch here.

The model of a node is written out, or built from the keyword-only parameters of a component. So a new optimizer is one
file and one YAML, and the range of a key is beside its formula.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator

from src.constraints import Within
from src.errors import ConfigError, nearest


class Node(BaseModel):
    """A mapping of config keys: read-only, without unknown keys. 3.0 becomes an integer; nothing else is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _read_whole_floats_as_integers(cls, node: object) -> object:
        return whole(node)


RENAMED = {
    "vary": "vars", "snapshots": "log_points", "matched_loss": "compare_at_loss", "memory": "memory_gb",
    "every": "check_every", "at": "when",
}  # fmt: skip
"""Former name of a key → its name now."""

Tree = dict[str, Any]
"""Nested mappings of config keys to values."""

AnyNode = TypeVar("AnyNode", bound=Node)


def whole(value: object) -> object:
    """Return 1 for 1.0, also within lists and mappings, so that both spellings are the same number."""
    if isinstance(value, Mapping):
        return {str(key): whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parameters(component: Callable) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a component: the keys of its node."""
    signature = inspect.signature(component).parameters
    return {name: value for name, value in signature.items() if value.kind is inspect.Parameter.KEYWORD_ONLY}


@cache
def model_of(component: Callable) -> type[Node]:
    """Return the model of a component's node, from the annotations of its keyword-only parameters."""
    hints = typing.get_type_hints(component, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is inspect.Parameter.empty else parameter.default)
        for name, parameter in parameters(component).items()
    }
    return create_model(component.__name__, __base__=Node, **fields)


def suggestion(word: str, known: Iterable[str], renamed: Mapping[str, str] = RENAMED) -> str:
    """Return `` (now 'log_points')`` for a word that was renamed, or the known word closest to it, or nothing."""
    new = renamed.get(word)
    return f" (now '{new}')" if new and new in known else nearest(word, known)


def validated(path: str, node: object, model: type[AnyNode], also: Iterable[str] = ()) -> AnyNode:
    """Return ``node`` as ``model``.

    Args:
        path: dotted path of the node in the configuration; empty for the top level.
        node: the mapping to check.
        model: the model to validate it with.
        also: keys to list as known besides those of the model.

    Raises:
        ConfigError: naming the key as written on the command line, the value, and what is allowed.
    """
    try:
        return model.model_validate(node)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    if not isinstance(node, Mapping):
        raise ConfigError(path, node, "must be a mapping of keys to values")
    prefix = f"{path}." if path else ""
    hints = typing.get_type_hints(model, include_extras=True)
    kinds = {mistake["loc"][0]: mistake["type"] for mistake in mistakes if len(mistake["loc"]) == 1}
    for key in (str(key) for key, kind in kinds.items() if kind == "extra_forbidden"):
        known = [*model.model_fields, *also]
        raise ConfigError(prefix + key, node[key], f"unknown key{suggestion(key, known)}; known: {', '.join(known)}")
    for key in (str(key) for key, kind in kinds.items() if kind == "missing"):
        raise ConfigError(prefix + key, "?", f"missing; must be {described(hints[key])}")
    first, *place = mistakes[0]["loc"]
    name, value, wanted = f"{prefix}{first}", node[first], hints[str(first)]
    if isinstance(wanted, type) and issubclass(wanted, Node):
        validated(name, value, wanted)
    raise _wrong_value(name, value, wanted, place)


def _wrong_value(name: str, value: Any, wanted: object, place: list[int | str]) -> ConfigError:
    """Return the error for a value, or for the item of a list at ``place`` in it."""
    while typing.get_origin(wanted) is list and isinstance(value, list) and place and isinstance(place[0], int):
        name, value, wanted, place = f"{name}[{place[0]}]", value[place[0]], typing.get_args(wanted)[0], place[1:]
    options = typing.get_args(wanted) if typing.get_origin(wanted) is Literal else ()
    guess = nearest(value, map(str, options)) if isinstance(value, str) else ""
    return ConfigError(name, value, f"must be {described(wanted)}{guess}")


def described(hint: Any) -> str:
    """Return an annotation in words.

    >>> described(Annotated[int, Within(1)] | None)
    'an integer >= 1 or null'
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return " ".join([described(options[0]), *(str(item) for item in hint.__metadata__ if isinstance(item, Within))])
    if origin is Literal:
        return f"one of {', '.join(map(str, options))}"
    if origin in (typing.Union, UnionType):
        return " or ".join(described(option) for option in options)
    if origin is list:
        return f"a list, each {described(options[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a word", NoneType: "null"}
    return words.get(hint, "a mapping")
