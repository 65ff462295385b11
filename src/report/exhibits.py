"""Draw and save the figures and tables of a report, or note why one is missing. No torch here."""

from __future__ import annotations

import base64
import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from src.errors import ConfigError
from src.report.html import Entry
from src.results import provenance, store

if TYPE_CHECKING:
    from src.report.figures.style import Plot, Table  # matplotlib takes a second to import

HERE = Path(__file__).resolve().parent
CODE = [Path(__file__), *(HERE / "figures").glob("*.py"), HERE.parent / "results" / "store.py"]
"""The code that makes a figure from the files of cells."""


def experiments_with_rows(exhibit: Plot | Table, frames: Mapping[str, pandas.DataFrame]) -> list[str]:
    """Return the experiments of a plot or table that have rows; an exhibit without experiments takes all."""
    return [name for name in exhibit.experiments or frames if name in frames and not frames[name].empty]


def _rows(exhibit: Plot | Table, frames: Mapping[str, pandas.DataFrame]) -> tuple[pandas.DataFrame | None, str]:
    """Return the rows of a plot or table, or None and the reason."""
    names = experiments_with_rows(exhibit, frames)
    if not names:
        return None, f"not drawn: {', '.join(exhibit.experiments) or 'every experiment'} has no finished cell"
    frame = pandas.concat([frames[name] for name in names], ignore_index=True)
    if missing := [column for column in exhibit.columns if column not in frame or frame[column].isna().all()]:
        return None, f"not drawn: {', '.join(missing)} was not measured"
    return frame, ""


def draw(
    plot: Plot,
    frames: Mapping[str, pandas.DataFrame],
    cells: Mapping[str, Sequence[Path]],
    commands: Mapping[str, str],
    folder: Path,
) -> Entry:
    """Draw a plot, save it in ``folder`` and return its entry for the page, with a ``note`` if it is not drawn.

    Raises:
        OSError: if the folder cannot be written.
    """
    from src.report.figures import style

    frame, note = _rows(plot, frames)
    if frame is None:
        return {"plot": plot, "note": note}
    names = [name for name in plot.experiments if name in frames and name in cells]
    inputs = {name: store.digest(cells[name]) for name in names} | {"code": provenance.code_digest(CODE)}
    file, png = folder / f"{plot.id}.json", folder / f"{plot.id}.png"
    if (alt := _alt_of_drawn(file, inputs)) is None:
        file.unlink(missing_ok=True)  # so that an interrupted plot is drawn again
        try:
            with style.rc_context():
                figure, data = plot.draw(frame)
                style.save(figure, folder / plot.id)
        except style.FigureNotReady as error:
            return {"plot": plot, "note": f"not drawn: {error}"}
        except OSError:  # a full disk is no error of the figure
            raise
        except Exception as error:  # the other figures are still drawn
            note = f"not drawn: {type(error).__name__}: {error}"
            _log(plot.id, note)
            return {"plot": plot, "note": note}
        data.to_csv(folder / f"{plot.id}.csv", index=False)
        alt = f"{plot.alt} {style.describe(data)}".strip()
    sidecar = {
        "figure": plot.id,
        "title": plot.title,
        "formula": plot.formula,
        "alt": alt,
        "data": f"{plot.id}.csv",
        "cells": {name: sorted(cell.name for cell in cells[name]) for name in names},
        "commands": {name: commands.get(name) for name in names},
        "inputs": inputs,
    }
    store.write_json(file, sidecar)
    return sidecar | {"plot": plot, "note": "", "image": base64.b64encode(png.read_bytes()).decode()}


def _alt_of_drawn(file: Path, inputs: Mapping[str, str]) -> str | None:
    """Return the text of the figure of this sidecar if it is there with all its files, drawn from ``inputs``."""
    with contextlib.suppress(ConfigError, KeyError, TypeError):
        before = store.read_json(file)
        if before["inputs"] == inputs and all(file.with_suffix(end).exists() for end in (".png", ".pdf", ".csv")):
            return before["alt"]
    return None


def _log(name: str, note: str) -> None:
    """Log one line as a warning, and the traceback at level debug."""
    logger = logging.getLogger(__name__)
    logger.warning("%s %s", name, note.partition("\n")[0])
    logger.debug("%s", name, exc_info=True)


def make(table: Table, frames: Mapping[str, pandas.DataFrame], folder: Path) -> Entry:
    """Make a table, save it and return its entry for the page, with a ``note`` if it is not made."""
    frame, note = _rows(table, frames)
    if frame is None:
        return {"id": table.id, "title": table.title, "caption": table.caption, "note": note}
    try:
        content = table.make(frame)
    except Exception as error:  # as with figures
        note = f"not made: {type(error).__name__}: {error}"
        _log(table.id, note)
        return {"id": table.id, "title": table.title, "caption": table.caption, "note": note}
    return save(table.id, table.title, table.caption, content, folder)


def save(name: str, title: str, caption: str, table: pandas.DataFrame, folder: Path) -> Entry:
    """Save a table as CSV and return its entry for the page."""
    table.to_csv(folder / f"{name}.csv", index=False)
    rows = [none_for_nonfinite(row) for row in table.itertuples(index=False, name=None)]
    shown = {"columns": list(table.columns), "rows": rows, "file": f"tables/{name}.csv"}
    return {"id": name, "title": title, "caption": caption, "note": ""} | shown


def none_for_nonfinite(value: object) -> Any:
    """Return the value with NaN and infinity as None, since JSON has neither."""
    if isinstance(value, Mapping):
        return {key: none_for_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [none_for_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
