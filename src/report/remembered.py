"""Remember the results of numbers: one is judged again only if its definition, its rows or the code has changed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src.claims import verdicts
from src.claims.results import NumberResult
from src.claims.schema import Number
from src.errors import ConfigError
from src.results import provenance, store

if TYPE_CHECKING:
    import pandas

ROOT = Path(__file__).resolve().parents[1]
CODE = [*(ROOT / "claims").glob("*.py"), ROOT / "constraints.py", ROOT / "results" / "store.py"]
"""What a result depends on besides the number and its rows."""


@contextlib.contextmanager
def remembered(file: Path, cells: Mapping[str, Sequence[Path]]) -> Iterator[verdicts.JudgeNumber]:
    """Yield a ``verdicts.judge_number`` that reads known results from ``file``; write all that were used at the end.

    ``cells`` is experiment → folders of its finished cells, from which the frames are read. A file that is damaged or
    cannot be written is no error.
    """
    known, used = _read(file), {}
    rows, code = {name: store.digest(folders) for name, folders in cells.items()}, provenance.code_digest(CODE)

    def judge_number(
        number: Number, frames: Mapping[str, pandas.DataFrame], planned: Mapping[str, int], rng_key: tuple
    ) -> NumberResult:
        inputs = [(name, rows.get(name), planned.get(name)) for name in number.experiments]
        key = hashlib.sha256(repr((number, inputs, rng_key, code)).encode()).hexdigest()
        result = known.get(key) or verdicts.judge_number(number, frames, planned, rng_key)
        used[key] = result
        return result

    yield judge_number
    if used.keys() != known.keys():
        with contextlib.suppress(OSError):
            store.write_json(file, {key: result.model_dump(mode="json") for key, result in used.items()})


def _read(file: Path) -> dict[str, NumberResult]:
    try:
        return {key: NumberResult(**result) for key, result in (store.read_json(file) or {}).items()}
    except (ConfigError, AttributeError, TypeError, ValueError):  # pydantic's errors are ValueErrors
        return {}
