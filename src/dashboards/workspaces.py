"""One W&B workspace per paper, as code: ``python -m src.dashboards [profile=default] [outputs=outputs]``.

A section per claim, in their order, with the curves its numbers are read from, over what runs are compared at: the
loss, gradient-flow time or the step. Seeds are grouped: each curve is their mean, with their range. What is built is
written as JSON to ``outputs/dashboards/``; with a key and the extra ``workspaces`` it is pushed as well. No torch here.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.claims import schema
from src.claims.results import ClaimResult
from src.config import sweep
from src.report import html, paper_page
from src.results import store, wandb_run

BOOKKEEPING = {"step", "final", "matched", "seed", "member", "cell", "experiment", "steps_taken", "cosine_to_last"}
AXES = {"decades": "−log₁₀ loss", "flow_time": "gradient-flow time Σ lr", "step": "step"}


class Sweep(NamedTuple):
    """What a panel has to know of an experiment: its first config, and what it sweeps (key of the config → values)."""

    config: Mapping[str, Any]
    swept: Mapping[str, Sequence[Any]]

    @property
    def axis(self) -> str:
        """What its runs are compared at: the loss if matched by it, the flow's time if that sets their steps."""
        if self.config["matched_loss"] is not None:
            return "decades"
        return "flow_time" if "time" in (self.config["size"] or {}) else "step"


def specification(paper: int, profile: str, outputs: Path) -> dict[str, Any]:
    """The workspace of a paper as plain data: ``{name, paper, filters, group_by, sections: [{name, panels}]}``.

    A panel is ``{"kind": "text", "text"}``, ``{"kind": "media", "keys"}``, ``{"kind": "table", "key"}``,
    ``{"kind": "lines", "x", "y": [mean, smallest, largest], "title", "title_x"}``, ``{"kind": "scatter", "x", "y",
    "log_x", "title"}`` over a swept number, or ``{"kind": "bars", "by", "y", "title"}`` over a swept word.
    """
    claims = schema.load(paper)
    names = sorted({name for claim in claims for name in claim.experiments})
    sweeps = {name: Sweep(*sweep.first([f"+experiment={name}", f"profile={profile}"])) for name in names}
    title, plots, _ = paper_page.of_paper(paper)
    folder = paper_page.folder_of(outputs, f"paper{paper}", profile)
    judged = {result.id: result for result in paper_page.read_claims(folder / "claims.json")}
    overview = {
        "name": "Verdicts",
        "panels": [
            {"kind": "text", "text": f"**{title}**\n\nReport of profile {profile}: the run `{folder.name}`."},
            {"kind": "table", "key": "claims"},
            {"kind": "media", "keys": [f"figures/{plot.id}" for plot in plots]},
        ],
    }
    sections = [_section(claim, judged.get(claim.id), sweeps, outputs) for claim in claims]
    return {
        "name": f"Paper {paper}, profile {profile}",
        "paper": paper,
        "filters": {"paper": paper, "profile": profile, "name": [*names, f"paper{paper}"]},
        "group_by": ["name", "label"],
        "sections": [overview, *sections],
    }


def _section(
    claim: schema.Claim, judged: ClaimResult | None, sweeps: Mapping[str, Sweep], outputs: Path
) -> dict[str, Any]:
    criteria = [f"- {part.name}: {schema.shown(part.criterion)}" for part in claim.parts]
    criteria += [f"- {number.name}: reported" for number in claim.reports]
    verdict = f"\n\n**{judged.verdict}**: {judged.name}: {html.measured(judged)}" if judged else ""
    text = f"{claim.statement}\n\n`{claim.formula}`\n\n{claim.source}{verdict}\n\n" + "\n".join(criteria)
    panels: list[dict[str, Any]] = [{"kind": "text", "text": text}]
    for name in claim.experiments:
        swept, own = sweeps[name], [number for number in claim.numbers if name in number.experiments]
        columns = store.flatten(swept.config).keys() | BOOKKEEPING
        curves = _curves(outputs / name)
        metrics = dict.fromkeys(metric for number in own for metric in _measured(number, columns))
        for metric in metrics or ["log_risk"]:  # all of a part may be derived from rows that W&B does not have
            panels += [panel for panel in _panels(metric, name, swept, curves) if panel not in panels]
    return {"name": f"{claim.id} {claim.statement}", "panels": panels}


def _measured(number: schema.Number, columns: Iterable[str]) -> list[str]:
    """The measured columns in the expressions of a number, in their order."""
    found: list[str] = []
    for expression in filter(None, (number.quantity, number.trials, number.x)):
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
        called = {getattr(node.func, "id", "") for node in nodes if isinstance(node, ast.Call)}
        found += [n.id for n in nodes if isinstance(n, ast.Name) and n.id not in called and n.id not in columns]
    return found


def _curves(experiment: Path) -> set[str] | None:
    """The columns measured along the way, by the first finished cell; None while there is none."""
    for cell in sorted(path.parent for path in experiment.glob("*/summary.json")):
        return {column for row in store.rows(cell) if not row["final"] for column in row}
    return None


def _panels(metric: str, name: str, swept: Sweep, curves: set[str] | None) -> list[dict[str, Any]]:
    panels = []
    if curves is None or metric in curves:
        over = {"x": swept.axis, "title_x": AXES[swept.axis]}
        title = f"{metric}: mean and range over seeds"
        panels.append({"kind": "lines", "y": [metric, f"min/{metric}", f"max/{metric}"], "title": title, **over})
    for key, values in swept.swept.items():
        title = f"{metric} at the end, by {key} ({name})"
        if all(isinstance(value, int | float) for value in values):
            wide = min(values) > 0 and max(values) >= 10 * min(values)
            panels.append({"kind": "scatter", "x": key, "y": metric, "log_x": wide, "title": title})
        else:
            panels.append({"kind": "bars", "by": key, "y": metric, "title": title})
    return panels


def workspace(spec: Mapping[str, Any], entity: str, project: str) -> Any:
    """The ``wandb_workspaces`` object of a specification; needs the extra ``workspaces``."""
    from wandb_workspaces import expr, workspaces
    from wandb_workspaces.reports import v2 as panels

    def panel(told: Mapping[str, Any]) -> Any:
        grouped = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
        match told["kind"]:
            case "text":
                return panels.MarkdownPanel(markdown=told["text"])
            case "media":
                return panels.MediaBrowser(media_keys=told["keys"], num_columns=3)
            case "table":
                return panels.WeavePanelSummaryTable(table_name=told["key"])
            case "lines":
                axes = {"x": told["x"], "y": told["y"], "title_x": told["title_x"]}
                return panels.LinePlot(title=told["title"], smoothing_type="none", **axes, **grouped)
            case "scatter":
                x, y = panels.Config(told["x"]), panels.SummaryMetric(told["y"])
                return panels.ScatterPlot(title=told["title"], x=x, y=y, log_x=told["log_x"])
            case "bars":
                by = panels.Config(told["by"])
                return panels.BarPlot(title=told["title"], metrics=[told["y"]], groupby=by, aggregate=True, **grouped)

    sections = [
        workspaces.Section(name=section["name"], panels=[panel(told) for told in section["panels"]], is_open=not index)
        for index, section in enumerate(spec["sections"])
    ]
    filters = [
        expr.Config(key).isin(value) if isinstance(value, list) else expr.Config(key) == value
        for key, value in spec["filters"].items()
    ]
    runs = workspaces.RunsetSettings(filters=expr.And(*filters), groupby=[expr.Config(key) for key in spec["group_by"]])
    return workspaces.Workspace(
        entity=entity, project=project, name=spec["name"], sections=sections, runset_settings=runs
    )


def push(specs: Sequence[Mapping[str, Any]], project: str, folder: Path) -> list[str]:
    """Save the workspaces to the account of the key; their addresses. What was pushed before is replaced.

    Raises:
        RuntimeError: saying what is missing, or what the server answered.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise RuntimeError("the extra is missing: pip install -c constraints.txt -e '.[workspaces]'")
    entity = wandb_run.account()
    known = store.read_json(folder / "pushed.json") or {}
    addresses = []
    for spec in specs:
        built, key = workspace(spec, entity, project), f"{entity}/{project}/{spec['name']}"
        built._internal_name, built._internal_id = known.get(key, ("", ""))
        try:
            built.save()
        except Exception as error:
            raise RuntimeError(f"W&B: {str(error).splitlines()[0]}") from error
        known[key] = (built._internal_name, built._internal_id)
        store.write_json(folder / "pushed.json", known)
        addresses.append(built.url)
    return addresses
