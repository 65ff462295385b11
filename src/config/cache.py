"""Cache composed configs on disk: composing is slow and depends on conf/ only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from src.config import components
from src.config.validation import Tree

Composed = list[tuple[list[str], Tree]]
"""Overrides and composed config of every cell."""

FOLDER = Path(__file__).resolve().parents[2] / "outputs" / ".compositions"


def recall(words: Sequence[str], compose: Callable[[], Composed]) -> Composed:
    """Return the cached result of ``compose`` for the same words and the same conf/, or call it.

    Words with an interpolation are never cached, as they may read values outside of conf/. A cache that cannot be
    written is no error.
    """
    if any("${" in word for word in words):
        return compose()
    key = [*words, os.environ.get("WANDB_MODE", "")]  # the one variable that conf/ reads
    folder = FOLDER / _digest(components.CONF)
    file = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, ValueError):
        return [(job, node) for job, node in json.loads(file.read_text(encoding="utf-8"))]
    composed = compose()
    with contextlib.suppress(OSError):
        if not folder.exists():
            shutil.rmtree(FOLDER, ignore_errors=True)  # compositions of an earlier conf/
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(composed), encoding="utf-8")
        temporary.replace(file)
    return composed


@cache
def _digest(conf: Path) -> str:
    """Return a hash of what compositions depend on: conf/ less claims and deviations, and the code of this package."""
    digest = hashlib.sha256()
    composed = [path for path in conf.rglob("*.yaml") if path.parent.name not in ("claims", "deviations")]
    for folder, files in ((conf, composed), (Path(__file__).parent, Path(__file__).parent.glob("*.py"))):
        for path in sorted(files):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
