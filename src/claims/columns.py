"""List the columns that expressions can use, from YAML files and sources, without a run. No torch here."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from src.claims.schema import Number
from src.claims.yaml_entries import names_in
from src.config import yaml_files
from src.config.validation import Tree
from src.errors import ANEW, ConfigError, nearest

ROOT = Path(__file__).resolve().parents[2]
CONF, MEASUREMENTS = ROOT / "conf", ROOT / "src" / "measurements"
OF_EVERY_ROW = {"cell", "experiment", "step", "member", "seed", "final", "converged", "diverged", "matched"}
OF_EVERY_ROW |= {"own_steps", "steps_taken", "epoch_risk"}
COMPUTED = {"direction_sketch": "cosine_to_last", "subgradient_sketch": "subgradient_cosine_to_last"}
COMPUTED |= {"soft_margin": "soft_margin_peak", "fnorm_(.+)": r"growth_\1"}
"""Pattern of a measured column → the column that is computed from it when rows are read."""


class Columns(NamedTuple):
    """Columns of an experiment: ``config`` keys, and ``measured``, pattern of names → text to show."""

    config: frozenset[str]
    measured: Mapping[str, str]

    @property
    def shown(self) -> list[str]:
        """The measured names as text, ``gamma_{name}``."""
        return sorted(filter(None, set(self.measured.values())))

    def has(self, name: str) -> bool:
        """Return whether rows have a column of this name."""
        return name in self.config or any(re.fullmatch(pattern, name) for pattern in self.measured)


@cache
def of(experiment: str) -> Columns:
    """Return the columns of an experiment: config keys of all its cells, and names in its measurements.

    Raises:
        ConfigError: for an experiment without a file.
    """
    path = CONF / "experiment" / f"{experiment}.yaml"
    if not path.exists():
        known = [file.stem for file in path.parent.glob("*.yaml")]
        raise ConfigError("experiment", experiment, f"unknown{nearest(experiment, known)}")
    base: dict[str, set[str]] = {}
    chosen: dict[str, set[str]] = {}
    names = {*_visit(CONF / "config.yaml", base), *_visit(path, chosen)}
    for group, options in (base | chosen).items():
        names |= {name for option in options for name in _keys(_read(CONF / group / f"{option}.yaml"), f"{group}_")}
    files = [file.stem for file in MEASUREMENTS.glob("*.py") if f"measurements_{file.stem}" in names]
    measured = {pattern: name for file in files for pattern, name in _named_by(file).items()}
    for pattern, text in list(measured.items()):
        measured |= dict(zip_longest(_from(pattern), _from(text), fillvalue=""))
    return Columns(frozenset(names | OF_EVERY_ROW), measured)


def unknown(number: Number) -> list[str]:
    """Return one sentence for every column in a number's expressions that its experiments do not have."""
    expressions = [number.quantity, number.rows, number.baseline, number.x, number.trials, number.converged]
    names = {*number.group_by, *number.min_distinct}.union(*(names_in(ast.parse(text)) for text in expressions if text))
    available = [of(experiment) for experiment in number.experiments]
    sentences = []
    for name in sorted(names):
        if not any(columns.has(name) for columns in available):
            hint = nearest(name, set().union(*(columns.config.union(columns.shown) for columns in available)))
            sentences.append(f"{name}: not a column of {', '.join(number.experiments)}{hint}")
    return sentences


def is_computed(name: str) -> bool:
    """Return whether the column is computed when rows are read."""
    return any(re.fullmatch(column.replace(r"\1", r"\w+"), name) for column in COMPUTED.values())


def _from(name: str) -> Iterator[str]:
    """Yield the columns that are computed from a measured one."""
    for pattern, column in COMPUTED.items():
        if match := re.fullmatch(pattern, name):
            yield match.expand(column)


def recorded(cells: Path) -> list[str] | None:
    """Return the columns of the first finished cell of a folder, also the computed ones; None without one.

    Raises:
        ConfigError: for a damaged record.
    """
    for summary in sorted(cells.glob("*/summary.json")):
        record = summary.parent / "metrics.jsonl"
        try:
            measured = {column for line in record.read_text("utf-8").splitlines() for column in json.loads(line)}
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError("metrics", record, f"is missing or damaged; {ANEW}") from error
        return sorted(measured.union(*map(_from, measured)) - OF_EVERY_ROW)
    return None


def _read(path: Path) -> Tree:
    return yaml_files.read(path, path.parent.name, dict, "a mapping of keys to values") if path.exists() else {}


def _visit(path: Path, groups: dict[str, set[str]]) -> Iterator[str]:
    """Yield the config keys of a top-level file, and of the top-level files that it chooses or sweeps.

    Collect the options of all other groups in ``groups``.
    """
    content = _read(path)
    options = []
    for default in content.get("defaults", []):
        group, option = next(iter(default.items())) if isinstance(default, dict) else (path.parent.name, default)
        options.append(CONF / group.removeprefix("override ").strip("/") / f"{option}.yaml")
    for key, values in content.get("sweep", {}).items():
        yield key.replace(".", "_")
        known = sorted((CONF / key).glob("*.yaml"))  # empty for a key of a group, optimizer.lr
        options += [file for file in known if file.stem in map(str, values)]
    for file in filter(Path.exists, options):
        if file.read_text("utf-8").startswith("# @package _global_"):
            yield from _visit(file, groups)
        else:
            groups.setdefault(str(file.parent.relative_to(CONF)), set()).add(file.stem)
    for profile in content.get("profiles", {}).values():
        yield from _keys({key: value for key, value in profile.items() if key != "sweep"})
    yield from _keys({key: value for key, value in content.items() if key not in ("defaults", "hydra", "profiles")})


def _keys(content: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}_")


@cache
def _named_by(measurement: str) -> dict[str, str]:
    """Return pattern → text to show for the columns of a measurement: its strings, alone and within f-strings.

    Any string of the module may fill an f-string. Only keys of mappings are shown; other strings are mostly options.
    """
    tree = ast.parse((MEASUREMENTS / f"{measurement}.py").read_text("utf-8"))
    nodes = list(ast.walk(tree))
    used = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "src.measurements"]
    named = {pattern: name for node in used for alias in node.names for pattern, name in _named_by(alias.name).items()}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    keys += [node.slice for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)]
    shown = {key.value for key in keys if isinstance(key, ast.Constant)}
    named |= {text: text if text in shown else "" for text in texts if re.fullmatch(r"[a-z_]\w*", text)}
    hole = f"(?:{'|'.join(sorted(named))}|\\d+|)"
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            pieces = [str(piece.value) if isinstance(piece, ast.Constant) else hole for piece in node.values]
            if all(piece == hole or re.fullmatch(r"\w*", piece) for piece in pieces):
                named["".join(pieces)] = ast.unparse(node)[2:-1]
    return named
