"""Write the files of finished cells with numbers from closed forms instead of training."""

import contextlib
import hashlib
import json
from itertools import cycle, product
from math import log, sqrt
from pathlib import Path

import numpy as np
import pandas
import yaml

from src.report.figures import style
from src.results import store

DATA = {"name": "clusters", "k": 8, "d": 4096, "n": 128, "sigma": 0.3, "means": "orthogonal", "rho": 0.0}
DATA |= {"negative": None, "coordinates": "reduced"}
MODEL = {"name": "two_layer_relu", "width": 64, "init": "balanced", "group": 1, "init_scale": 1e-6}
STARTS = [("groups", 1), ("groups", 2), ("groups", 4), ("groups", 8), ("robust", 1), ("robust", 2), ("balanced", 1)]
SMALL = [  # a few points of every experiment of paper 1; keys in one string vary together
    ("cluster_trajectory", {"model.init_scale": [1e-6, 1e-3]}),
    ("cluster_k_scaling", {"data.k": [2, 4, 8, 16, 32], "data.d": [65536], "data.sigma": [0.1], "data.n": [512]}),
    ("cluster_d_scaling", {"data.d": [256, 4096, 16384, 65536, 2**20], "data.sigma": [0.1]}),
    ("cluster_width", {"model.width": [4, 16, 64, 256, 1024]}),
    ("cluster_noise", {"data.n": [16, 128], "data.sigma": [1.0, 8.0]}),
    ("cluster_balance", {"data.k": [32], "data.n": [512], "data.negative": [16, 4, 1]}),
    ("cluster_correlation", {"data.means": ["equicorrelated"], "data.rho": [0.0, 0.05, 0.2, 0.5]}),
    ("cluster_attacks", {}),
    ("cluster_robust_start", {"model.init": ["robust"], "data.k": [8, 16, 32]}),
    ("cluster_groups", {"model.init model.group": STARTS, "data.k": [16]}),
    ("cluster_joint_scaling", {"data.k data.d": [(4, 128), (8, 724), (16, 4096), (24, 11287)], "data.sigma": [0.1]}),
    ("cluster_literal", {"data.k": [4], "data.d": [40000], "data.sigma": [0.02, 0.05, 0.1], "data.n": [450]}),
    ("cluster_full_space", {"data.d": [2048], "data.coordinates": ["full", "reduced"]}),
    ("cluster_trainers", {"optimizer.name": ["margin_flow", "ngd", "gd"]}),
]


def paper1(outputs: Path, seeds=range(5)) -> dict[str, list[Path]]:
    """Write cells of all experiments of paper 1; return ``{experiment: [cell, …]}``."""
    return {name: sweep(outputs, name, grid, seeds) for name, grid in SMALL}


def sweep(outputs: Path, experiment: str, grid: dict, seeds=range(5), **columns) -> list[Path]:
    """Write one cell for every point of the grid, with ``columns`` in every row; return their folders."""
    cells = []
    for index, point in enumerate(product(*grid.values())):
        config = {"name": experiment, "paper": 1, "data": dict(DATA), "model": dict(MODEL)}
        config |= {"optimizer": {"name": "margin_flow"}, "seeds": list(seeds), "profile": "default"}
        for keys, value in zip(grid, point, strict=True):
            for key, entry in zip(keys.split(), value if isinstance(value, tuple) else [value], strict=True):
                group, name = key.split(".")
                config[group][name] = entry
        rows = [
            {"step": step, "member": m, "seed": s, "final": step == 2000, "converged": step == 2000}
            | closed_forms(config, step, np.random.default_rng([index, s, step]))
            | columns
            for step in (0, 1, 10, 100, 2000)
            for m, s in enumerate(seeds)
        ]
        cells.append(cell(outputs, config, rows, index))
    return cells


def cell(outputs: Path, config: dict, rows: list[dict], index: int = 0) -> Path:
    """Write the files of one finished cell; return its folder."""
    text = json.dumps([config["data"], config["model"], config["optimizer"]])
    identity = hashlib.sha256(text.encode()).hexdigest()[:10]
    folder = outputs / config["name"] / f"{index:02d}-{identity}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    store.append(folder / "metrics.jsonl", rows)
    store.write_json(folder / "summary.json", {"members": len(config["seeds"])})
    store.write_json(folder / "status.json", {"state": "done", "seconds": 1.0})
    provenance = {"git": {"sha": "0123abcd", "dirty": False}, "command": "python", "date": f"2026-01-0{index % 9 + 1}"}
    provenance |= {"versions": {"torch": "2.13.0"}, "threads": 1, "seeds": config["seeds"], "dtype": "float64"}
    store.write_json(folder / "provenance.json", provenance)
    return folder


def frames(cells: dict[str, list[Path]]) -> dict[str, pandas.DataFrame]:
    return {name: store.frame(folders) for name, folders in cells.items()}


def closed_forms(config: dict, step: int, random: np.random.Generator) -> dict:
    """Return the columns of one row, which approach the closed forms during training."""
    data, robust, s = config["data"], config["model"]["init"] == "robust", config["model"]["group"]
    k, d, n, sigma = (data[key] for key in ("k", "d", "n", "sigma"))
    spread = 1 + 0.002 * random.standard_normal()
    r = sqrt(d * (1 - data["rho"]) / k) * spread
    start, saddle = sqrt(d / (2 * s)), spread * sqrt(d / (s + k / 2))
    oracle = sqrt(d / k / 8)
    done = log(1 + step) / log(2001)
    error = 0.04 if sigma > 4 else 0.0
    radii = np.sort(r * (1 + 0.02 * random.standard_normal(40)))
    grid = np.linspace(0.5, 1.5, 21)
    logistic = lambda x, at: 1 / (1 + np.exp(-40 * (x - at)))  # noqa: E731
    row = {
        "log_risk": -1000 * done,
        "margin": (0.2 + 0.798 * done) * oracle,
        "margin_ratio": 0.2 + 0.798 * done,
        "kkt_residual": 0.99 * (0.002 / 0.99) ** done,
        "kkt_residual_clarke": 1e-4,
        "slackness": 1e-3**done * 1.2,
        "test_error": error,
        "test_errors": int(1000 * error),
        "test_points": 1000,
        "z_r50": saddle * sqrt(k / (s + k / 2)) if robust else r,
        "attack_median": start * (saddle / start) ** done if robust else r * 0.999,
        "certificate_median": 0.98 * r,
    }
    if step < 2000:
        return row
    log_term = 4 * sigma * sqrt(d) * log(d)
    return row | {
        "z_r99": 1.03 * r,
        "z_flip": 1.0,
        "shuffled_flip": 0.0,
        "gaussian_flip": 0.0,
        "pair_flip": 0.1,
        "z_points": 5000,
        "curve_radius": list(grid),
        "curve_flip": list(logistic(grid, 1.0)),
        "certificate_over_attack": 0.98,
        "certificate_over_attack_worst": 0.93,
        "certificate_violations": 0,
        "attack_above_z": 0,
        "attack_unflipped": 0,
        "certificate_radii": list(radii),
        "robust_certificate_median": 0.497 * sqrt(d),
        "robust_attack_median": sqrt(d / 2) * (1 + 0.001 * random.standard_normal()),
        "robust_z_r50": sqrt(d * k) / 2,
        "robust_test_errors": 0,
        "robust_test_points": 1000,
        "robust_certificate_over_attack": 0.703,
        "margin_oracle": oracle,
        "harmful_margin": oracle / (1.01 * (1 + n * sqrt(2 * d / k) * sqrt(1 + 4 / (sigma**2 * d)))),
        "harmful_train_error": 0.0,
        "harmful_test_errors": 1000,
        "harmful_test_points": 1000,
        "pgd_z_flip": 1.0,
        "pgd40_flip": 0.7,
        "pgd40_restarts_flip": 0.95,
        "pgd2000_flip": 0.8,
        "pgd_curve_eps": list(grid),
        "pgd40_curve": list(0.8 * logistic(grid, 1.05)),
        "pgd_restarts_curve": list(0.95 * logistic(grid, 1.02)),
        "z_curve": list(logistic(grid, 1.0)),
        "assumption_left": k * (data["rho"] * d + log_term + 1),
        "assumption_right": (d - log_term + 1) / 10,
        "neuron_mean_cosine": list(np.tile(np.where(np.arange(k) < k // 2, 0.35, -0.01), 16)),
        "neuron_contribution": list(np.linspace(1, 0.1, 16)),
    }


def read(path: Path):
    return json.loads(path.read_text())


def check_figures(plots, drawn):
    """Figures are numbered in order and described; their data are finite, and no panel says that it has none."""
    assert [plot.id for plot in plots] == [f"F{i}" for i in range(1, 1 + len(plots))]
    for plot in plots:
        figure, data = drawn[plot.id]
        assert plot.caption.endswith(".") and plot.alt.endswith(".") and plot.formula, plot.id
        assert len(data) and np.isfinite(data.select_dtypes("number")).all(axis=None), plot.id
        assert not panels_without_a_value(figure), plot.id


def draw_cells_alone(plots, frames):
    """Draw every plot from the first and the last cell alone, as during a sweep; FigureNotReady is allowed."""
    with style.rc_context():
        for plot in plots:
            for name in plot.experiments:
                cells = frames[name]["cell"]
                for cell in {cells.iloc[0], cells.iloc[-1]}:
                    with contextlib.suppress(style.FigureNotReady):
                        plot.draw(frames[name][cells == cell])


CONFIG = ("data_", "model_", "optimizer_", "objective_", "vars_", "batch_size", "compare_at_loss", "steps")
CONFIG += ("seed", "member")
"""Prefixes of columns from the config."""
NOTHING = {"no number": (float("nan"), float("-inf")), "no curve": (None, [])}
"""What stands for the measured values, in turns."""


def draw_without_values(plots, frames, what):
    """Draw every plot without values; every panel without a finite value must have a note."""
    with style.rc_context():
        for plot in plots:
            rows = pandas.concat([frames[name] for name in plot.experiments], ignore_index=True)
            numbers = what == "no number"
            if not numbers and not any(isinstance(entry, list) for column in rows for entry in rows[column]):
                continue
            try:
                figure, _ = plot.draw(without_values(rows, what))
            except style.FigureNotReady:
                continue
            if numbers:
                figure.draw_without_rendering()
                noted = panels_without_a_value(figure)
                panels = [axes for axes in figure.axes if not hasattr(axes, "_colorbar")]
                formulas = 1 if plot.title == "Test error under noise" else 0  # a panel of a closed form alone
                assert len(noted) == len(panels) - formulas, plot.id


def panels_without_a_value(figure):
    """Return the panels with the note."""
    return [axes for axes in figure.axes if style.NO_VALUE in [text.get_text() for text in axes.texts]]


def without_values(frame: pandas.DataFrame, what: str) -> pandas.DataFrame:
    """Return the rows with all measured curves, and for "no number" also all numbers, replaced."""
    values, changed = [value for value, _ in zip(cycle(NOTHING[what]), frame.index)], frame.copy()
    for column in frame:
        if column.startswith(CONFIG):
            continue
        if any(isinstance(entry, list) for entry in frame[column]):
            changed[column] = [
                ([value] * len(curve) if what == "no number" else value) if isinstance(curve, list) else curve
                for curve, value in zip(frame[column], values, strict=True)
            ]
        elif what == "no number" and (
            pandas.api.types.is_float_dtype(frame[column]) or column in ("test_errors", "test_points")
        ):
            changed[column] = values
    return changed
