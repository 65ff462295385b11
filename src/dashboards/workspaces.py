"""Specify W&B workspaces as plain data, one per paper. No torch here.

There is a section per claim, with the curves of its columns over the loss, gradient-flow time or the step. Curves are
means over seeds, with their range.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src.claims import schema
from src.claims.columns import is_computed
from src.claims.results import ClaimResult
from src.claims.yaml_entries import names_in
from src.config import sweep
from src.config.papers import Paper, file_name, heading
from src.config.schema import Config
from src.report import html, paper_page
from src.results import store

BOOKKEEPING = {
    "step",
    "final",
    "matched",
    "seed",
    "member",
    "cell",
    "experiment",
    "steps_taken",
    "own_steps",
}
AXES = {"decades": "−log₁₀ loss", "flow_time": "gradient-flow time Σ lr", "step": "step"}
GROUPED = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}

Panel = dict[str, object]
"""A class of ``wandb_workspaces.reports.v2`` as ``panel``, and its arguments."""


class Experiment(NamedTuple):
    """An experiment: config of the first cell, swept key → values, and columns with curves if a cell is done."""

    name: str
    config: Config
    swept: Mapping[str, Sequence]
    curves: set[str] | None


def specification(paper: Paper, profile: str, outputs: Path) -> dict[str, object]:
    """Return the workspace of a paper: ``{name, filters, group_by, sections: [{name, panels}]}``.

    ``panel`` is the class of a panel in ``wandb_workspaces.reports.v2``; the other keys are its arguments. A config key
    has the form ``config:key``.
    """
    claims = schema.load(paper)
    names = sorted({name for claim in claims for name in claim.experiments})
    experiments = {name: _experiment(name, profile, outputs) for name in names}
    title, plots, _ = paper_page.of_paper(paper)
    folder = paper_page.folder_of(outputs, file_name(paper), profile)
    judged = {result.id: result for result in paper_page.read_claims(folder / "claims.json")}
    verdicts = [
        _text(f"**{title}**\n\nReport of profile {profile}: the run `{folder.name}`."),
        {"panel": "WeavePanelSummaryTable", "table_name": "claims"},
        {"panel": "MediaBrowser", "media_keys": [f"figures/{plot.id}" for plot in plots], "num_columns": 3},
    ]
    sections = [
        {"name": f"{claim.id} {claim.statement}", "panels": _panels(claim, judged.get(claim.id), experiments)}
        for claim in claims
    ]
    return {
        "name": f"{heading(paper)}, profile {profile}",
        "filters": {"paper": paper, "profile": profile, "name": [*names, file_name(paper)]},
        "group_by": ["name", "label"],
        "sections": [{"name": "Verdicts", "panels": verdicts}, *sections],
    }


def _experiment(name: str, profile: str, outputs: Path) -> Experiment:
    config, swept = sweep.first([f"+experiment={name}", f"profile={profile}"])
    done = min((outputs / name).glob("*/summary.json"), default=None)
    curves = {column for row in store.rows(done.parent) if not row["final"] for column in row} if done else None
    return Experiment(name, config, swept, curves)


def _text(markdown: str) -> Panel:
    return {"panel": "MarkdownPanel", "markdown": markdown}


def _panels(claim: schema.Claim, judged: ClaimResult | None, experiments: Mapping[str, Experiment]) -> list[Panel]:
    """Return the claim as text, then panels of its measured columns: curves, and final values by swept key."""
    verdict = f"\n\n**{judged.verdict}**: {judged.name}: {html.measured(judged)}" if judged else ""
    lines = [f"- {part.name}: {schema.shown(part.criterion)}" for part in claim.parts]
    criteria = "\n".join([*lines, *(f"- {number.name}: reported" for number in claim.reports)])
    panels = [_text(f"{claim.statement}\n\n`{claim.formula}`\n\n{claim.source}{verdict}\n\n{criteria}")]
    for experiment in (experiments[name] for name in claim.experiments):
        numbers = [number for number in claim.numbers if experiment.name in number.experiments]
        expressions = [text for number in numbers for text in (number.quantity, number.trials, number.x) if text]
        metrics = dict.fromkeys(name for text in expressions for name in names_in(ast.parse(text, mode="eval")))
        other = BOOKKEEPING | store.flatten(experiment.config.model_dump()).keys()
        measured = [metric for metric in metrics if metric not in other and not is_computed(metric)]
        for metric in measured or ["log_risk"]:  # some columns are computed from rows, not logged
            panels += [panel for panel in _of_metric(metric, experiment) if panel not in panels]
    return panels


def _of_metric(metric: str, experiment: Experiment) -> Iterator[Panel]:
    if experiment.curves is None or metric in experiment.curves:
        axis = _axis(experiment.config)
        lines = {"x": axis, "title_x": AXES[axis], "y": [metric, f"min/{metric}", f"max/{metric}"]}
        title = f"{metric}: mean and range over seeds"
        yield {"panel": "LinePlot", "title": title, "smoothing_type": "none", **lines, **GROUPED}
    for key, values in experiment.swept.items():
        title = f"{metric} at the end, by {key} ({experiment.name})"
        if all(isinstance(value, int | float) for value in values):
            log_x = min(values) > 0 and max(values) >= 10 * min(values)
            yield {"panel": "ScatterPlot", "title": title, "x": f"config:{key}", "y": metric, "log_x": log_x}
        else:
            bars = {"groupby": f"config:{key}", "metrics": [metric], "aggregate": True}
            yield {"panel": "BarPlot", "title": title, **bars, **GROUPED}


def _axis(config: Config) -> str:
    """Return the x axis: the loss if runs are compared at one, gradient-flow time if it sets the steps, or the step."""
    if config.compare_at_loss:
        return "decades"
    return "flow_time" if config.time is not None else "step"
