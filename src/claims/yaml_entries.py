"""Hand-written YAML lists of entries (claims, ledgers), checked key by key. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config import yaml_files
from src.errors import ConfigError, nearest


def read_entries(path: Path, kind: str) -> list[dict[str, Any]]:
    """The mappings listed in a YAML file of claims or of another ``kind``; no ``id`` stands twice.

    Raises:
        ConfigError: for anything else.
    """
    shape = "a list of mappings, each with the key id"
    entries = yaml_files.read(path, kind, list, shape)
    if not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(kind, path.name, f"must be {shape}")
    ids = [entry["id"] for entry in entries if "id" in entry]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise ConfigError(f"{path.stem}.id", twice, "stands twice")
    return entries


def check_keys(entry: Mapping[str, Any], known: set[str], required: set[str], place: str) -> None:
    """Refuse a key that is not known, and the lack of one that is required."""
    for key in entry:
        if key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(f"{place}.{key}", entry[key], f"unknown key{hint}; known: {', '.join(sorted(known))}")
    for key in sorted(required - entry.keys()):
        raise ConfigError(f"{place}.{key}", "?", "missing")


def text(value: Any, place: str) -> str:
    """Text, on one line."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(place, value, "must be text")
    return " ".join(value.split())


def words(value: Any, place: str) -> tuple[str, ...]:
    """A name or a list of names."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise ConfigError(place, value, "must be a name or a list of names")
    return tuple(text(name, place) for name in names)
