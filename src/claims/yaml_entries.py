"""Parse YAML lists of entries (claims, deviations) into typed models. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Iterable, KeysView, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src.errors import ConfigError, nearest


class Model(BaseModel):
    """A typed entry. ``DERIVED`` are its fields that are not keys of the file."""

    DERIVED: ClassVar[tuple[str, ...]] = ()
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


M = TypeVar("M", bound=Model)


def parse(kind: type[M], entry: object, place: str, also: Iterable[str] = ()) -> M:
    """Return the mapping at ``place`` as a model of ``kind``; errors list the keys ``also`` as known, too.

    Raises:
        ConfigError: naming the key that is missing, unknown or not allowed, with the nearest known word.
    """
    if not isinstance(entry, Mapping):
        required = [field.alias or name for name, field in kind.model_fields.items() if field.is_required()]
        raise ConfigError(place, entry, f"must be a mapping with the keys {', '.join(required)}")
    try:
        return kind.model_validate(dict(entry))
    except ValidationError as errors:
        # A misspelt key is unknown and its correct form missing: the error for the unknown key has the hint.
        error = min(errors.errors(), key=lambda error: error["type"] != "extra_forbidden")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        raise ConfigError(f"{place}.{cause.key}", cause.value, cause.allowed)
    key = ".".join([place, *map(str, error["loc"])])
    if error["type"] == "missing":
        raise ConfigError(key, "?", "missing")
    if error["type"] == "extra_forbidden":
        fields = {field.alias or name for name, field in kind.model_fields.items() if name not in kind.DERIVED}
        known = sorted(fields.union(also))
        hint = nearest(str(error["loc"][-1]), known)
        raise ConfigError(key, error["input"], f"unknown key{hint}; known: {', '.join(known)}")
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    raise ConfigError(key, error["input"], message)


def check_entries(entries: object, kind: str, path: Path) -> None:
    """Raise ConfigError unless the entries of a file are a list of mappings without the same ``id`` twice."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(kind, path.name, f"must have a list of {kind}, each a mapping with the key id")
    ids = [entry["id"] for entry in entries if "id" in entry]
    if duplicate := next((name for name in ids if ids.count(name) > 1), None):
        raise ConfigError(f"{path.stem}.id", duplicate, "duplicate id")


def line(value: object) -> str:
    """Return the text on one line."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return " ".join(value.split())


def expression(value: str) -> str:
    """Return the text if it is a Python expression."""
    try:
        ast.parse(value, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"is not an expression: {error.msg}") from error
    return value


def names_in(tree: ast.AST) -> KeysView[str]:
    """Return the distinct names in an expression, in order and without names of functions."""
    nodes = list(ast.walk(tree))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name) and node.id not in called).keys()


def _names(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("must be a name or a list of names")
    return tuple(map(line, names))


Text = Annotated[str, BeforeValidator(line)]
"""Text, on one line."""
Expression = Annotated[Text, AfterValidator(expression)]
"""A pandas expression over columns."""
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""A name or a list of names."""
Count = Annotated[int, Field(ge=1)]
