"""What W&B is told of a cell and of a report, read from their files, so that it can be told again. No torch here."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.config import schema
from src.results import store, wandb_run

TOLD = ".verdicts-told.json"
"""Beside a cell's files: the verdicts its W&B run shows."""


def open_cell(cell: Path, config: Mapping[str, Any], claims: Sequence[str]) -> wandb_run.Mirror:
    """The cell's W&B run, tagged with the claims that rest on its experiment, with the rows there are so far."""
    mirror = wandb_run.open_run(
        config["tracking"]["mode"],
        config["outputs"],
        run_id=schema.identity(config),
        project=config["tracking"]["project"],
        name=cell.name,
        group=config["name"],
        job_type="cell",
        tags=[f"paper{config['paper']}", config["profile"], config["name"], *claims],
        config=described(config),
        time_per_step=_time_per_step(config["optimizer"]),
    )
    if mirror is not wandb_run.SILENT and (cell / "metrics.jsonl").exists():
        for _, rows in itertools.groupby(store.rows(cell), key=lambda row: row["step"]):
            mirror.log(list(rows))
    return mirror


def described(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it is recorded: what determines the numbers and what the cell is called, no paths."""
    described = schema.without_locations(config)
    return {key: value for key, value in described.items() if key not in ("outputs", "force", "report", "profiles")}


def _time_per_step(optimizer: Mapping[str, Any]) -> float | None:
    """A step of gradient descent at the constant rate η stands for the time η of gradient flow; of others, None."""
    rate = optimizer.get("lr")
    return rate if optimizer["name"] in ("gd", "sgd") and isinstance(rate, int | float) else None


def tell_verdicts(config: Mapping[str, Any], claims: Sequence[str], judged: Sequence[Mapping[str, Any]]) -> None:
    """Put the verdicts that rest on a cell's experiment into the summary of its W&B run, as ``verdict/<claim>``.

    A verdict rests on all cells of a sweep, so it comes after the cell's run has ended; W&B cannot add to an ended run
    offline, and so the run is told again, whole, if a verdict is new.

    Raises:
        OSError: when the cell is somebody else's, so that what was told could not be noted and would be told for ever.
    """
    cell = schema.folder(config)
    own = [record for record in judged if config["name"] in record["experiment"].split(", ")]
    verdicts = {record["id"]: record["verdict"] for record in own}
    told = store.read_json(cell / TOLD, mend="remove it") or {}
    if config["tracking"]["mode"] == "disabled" or verdicts.items() <= told.items():
        return
    if not os.access(cell, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(cell))
    mirror = open_cell(cell, config, claims)
    if mirror is wandb_run.SILENT:
        return
    final = [row for row in store.rows(cell) if row["final"]]
    mirror.summary(
        wandb_run.history_entry(final) | {f"verdict/{claim}": verdict for claim, verdict in verdicts.items()}
    )
    mirror.finish()
    store.write_json(cell / TOLD, told | verdicts)


def tell_report(config: Mapping[str, Any], folder: Path, title: str, judged: Sequence[Mapping[str, Any]]) -> None:
    """One W&B run with the figures as images, the claims as a table, the page and its numbers as an artifact."""
    mirror = wandb_run.open_run(
        config["tracking"]["mode"],
        config["outputs"],
        # of the whole path: a report in another folder of outputs is another one
        run_id=f"report-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:10]}",
        project=config["tracking"]["project"],
        name=folder.name,
        group=title,
        job_type="report",
        tags=[f"paper{config['paper']}", config["profile"], *(record["id"] for record in judged)],
        config={"paper": config["paper"], "profile": config["profile"], "name": title},
    )
    for figure in sorted((folder / "figures").glob("*.png")):
        mirror.image(f"figures/{figure.stem}", figure)
    mirror.table("claims", [{k: v for k, v in record.items() if not isinstance(v, list)} for record in judged])
    mirror.summary({f"verdict/{record['id']}": record["verdict"] for record in judged})
    files = [folder / name for name in ("report.html", "claims.json", "claims.csv", "deviations.json")]
    mirror.artifact(folder.name, "report", files, {"paper": config["paper"], "profile": config["profile"]})
    mirror.finish()
