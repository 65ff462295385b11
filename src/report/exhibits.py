"""The figures and tables of a report: drawn and saved, or noted with the reason why they cannot be. No torch here."""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from src.results import store


def there(wanted: Any, frames: Mapping[str, pandas.DataFrame]) -> list[str]:
    """The experiments of a plot or table that have rows; a table that names none takes all."""
    return [name for name in wanted.experiments or frames if name in frames and not frames[name].empty]


def _rows(wanted: Any, frames: Mapping[str, pandas.DataFrame]) -> tuple[pandas.DataFrame | None, str]:
    """The rows a plot or table is made of, or None and why there are none."""
    names = there(wanted, frames)
    if not names:
        return None, f"not drawn: {', '.join(wanted.experiments) or 'nothing'} has no finished cell"
    frame = pandas.concat([frames[name] for name in names], ignore_index=True)
    if missing := [column for column in wanted.columns if column not in frame or frame[column].isna().all()]:
        return None, f"not drawn: {', '.join(missing)} was not measured"
    return frame, ""


def draw(
    plot: Any,
    frames: Mapping[str, pandas.DataFrame],
    cells: Mapping[str, Sequence[Path]],
    commands: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:
    """Draw a plot and save it in ``folder``; what the page shows of it, with a ``note`` if it is not drawn.

    Raises:
        OSError: when the folder cannot be written.
    """
    from src.report.figures import style

    frame, note = _rows(plot, frames)
    if frame is None:
        return {"plot": plot, "note": note}
    try:
        with style.look():
            figure, data = plot.draw(frame)
            png, _ = style.save(figure, folder / plot.id)
    except style.NotYetError as error:
        return {"plot": plot, "note": f"not drawn: {error}"}
    except OSError:  # a full disk is no fault of the figure's
        raise
    except Exception as error:  # a figure that cannot be drawn must not take the others with it
        note = f"not drawn: {type(error).__name__}: {error}"
        _log(plot.id, note)
        return {"plot": plot, "note": note}
    data.to_csv(folder / f"{plot.id}.csv", index=False)
    names = [name for name in plot.experiments if name in frames and name in cells]
    sidecar = {
        "figure": plot.id,
        "title": plot.title,
        "formula": plot.formula,
        "data": f"{plot.id}.csv",
        "cells": {name: sorted(cell.name for cell in cells[name]) for name in names},
        "commands": {name: commands.get(name) for name in names},
    }
    store.write_json(folder / f"{plot.id}.json", sidecar)
    image = base64.b64encode(png.read_bytes()).decode()
    return sidecar | {"plot": plot, "note": "", "image": image, "alt": f"{plot.alt} {style.in_words(data)}".strip()}


def _log(which: str, note: str) -> None:
    """One line for the terminal; the traceback is for those who ask for it."""
    logger = logging.getLogger(__name__)
    logger.warning("%s %s", which, note.partition("\n")[0])
    logger.debug("%s", which, exc_info=True)


def make(table: Any, frames: Mapping[str, pandas.DataFrame], folder: Path) -> dict[str, Any]:
    """Make a table of a paper; what the page shows of it, with a ``note`` if it is not made."""
    frame, note = _rows(table, frames)
    if frame is None:
        return {"id": table.id, "title": table.title, "caption": table.caption, "note": note}
    try:
        made = table.make(frame)
    except Exception as error:  # as with figures
        note = f"not made: {type(error).__name__}: {error}"
        _log(table.id, note)
        return {"id": table.id, "title": table.title, "caption": table.caption, "note": note}
    return saved(table.id, table.title, table.caption, made, folder)


def saved(name: str, title: str, caption: str, table: pandas.DataFrame, folder: Path) -> dict[str, Any]:
    """Save a table as CSV; what the page shows of it."""
    table.to_csv(folder / f"{name}.csv", index=False)
    rows = [finite(row) for row in table.itertuples(index=False, name=None)]
    shown = {"columns": list(table.columns), "rows": rows, "file": f"tables/{name}.csv"}
    return {"id": name, "title": title, "caption": caption, "note": ""} | shown


def finite(value: Any) -> Any:
    """The value with NaN and infinity as None: JSON knows neither."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
