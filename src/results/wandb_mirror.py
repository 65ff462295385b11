"""Copy cells and reports from their files to W&B. No torch here."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.config import schema
from src.config.papers import file_name
from src.config.schema import Component, Config
from src.results import store, wandb_run


def open_cell(cell: Path, config: Config, claims: Sequence[str]) -> wandb_run.Mirror:
    """Open the cell's W&B run, tagged with the claims that use its experiment, and log the rows recorded so far."""
    mirror = wandb_run.open_run(
        config.tracking.mode,
        config.outputs,
        time_per_step=_time_per_step(config.optimizer),
        project=config.tracking.project,
        id=schema.identity(config.model_dump()),
        name=cell.name,
        group=config.name,
        job_type="cell",
        tags=[*_paper(config), config.profile, config.name, *claims],
        config=described(config),
    )
    if mirror is not wandb_run.SILENT and (cell / "metrics.jsonl").exists():
        for _, rows in itertools.groupby(store.rows(cell), key=lambda row: row["step"]):
            mirror.log(list(rows))
    return mirror


def _paper(config: Config) -> list[str]:
    """Return the tag of the paper, if there is one."""
    return [] if config.paper is None else [file_name(config.paper)]


def described(config: Config) -> dict[str, object]:
    """Return the config to record: the identity, names and labels, without paths."""
    recorded = schema.without_locations(config.model_dump())
    left_out = ("outputs", "force", "report", "profiles", "sweep")
    return {key: value for key, value in recorded.items() if key not in left_out}


def _time_per_step(optimizer: Component) -> float | None:
    """Return the gradient-flow time per step: η for gradient descent at a constant learning rate η, else None."""
    rate = (optimizer.model_extra or {}).get("lr")
    return rate if optimizer.name in ("gd", "sgd") and isinstance(rate, int | float) else None


def log_report(config: Config, folder: Path, title: str, judged: Sequence[Mapping]) -> None:
    """Log a report as a W&B run: figures, a table of the claims, their verdicts, and its files as an artifact."""
    import pandas

    about = {"paper": config.paper, "profile": config.profile}
    mirror = wandb_run.open_run(
        config.tracking.mode,
        config.outputs,
        project=config.tracking.project,
        # from the whole path, so that another folder of outputs gets another run
        id=f"report-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:10]}",
        name=folder.name,
        group=title,
        job_type="report",
        tags=[*_paper(config), config.profile, *(record["id"] for record in judged)],
        config=about | {"name": title},
    )
    claims = pandas.DataFrame({k: v for k, v in record.items() if not isinstance(v, list)} for record in judged)
    mirror.send(lambda wandb, run: run.log({"claims": wandb.Table(dataframe=claims)}))
    mirror.summary({f"verdict/{record['id']}": record["verdict"] for record in judged})

    def log_files(wandb: Any, run: Any) -> None:
        for figure in sorted((folder / "figures").glob("*.png")):
            run.log({f"figures/{figure.stem}": wandb.Image(str(figure))})
        artifact = wandb.Artifact(folder.name, "report", metadata=about)
        for name in ("report.html", "claims.json", "claims.csv", "deviations.json"):
            # skip_cache: no copy in the home directory
            artifact.add_file(str(folder / name), policy="immutable", skip_cache=True)
        run.log_artifact(artifact)

    mirror.send(log_files)
    mirror.finish()
