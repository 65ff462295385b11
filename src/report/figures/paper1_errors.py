"""Figures of errors: under noise (F5) and under attack (F10)."""

from __future__ import annotations

import numpy as np
import pandas
import seaborn
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from scipy.special import ndtr

from src.report.figures.style import BAND, COLOURS, Plot, canvas, is_curve, legend, lines, needed


def noise(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F5: test error over training points and noise, beside the closed form O7."""
    final = frame[frame["final"]]
    data = (
        final.groupby(["data_n", "data_sigma"])
        .agg(
            errors=("test_errors", "sum"),
            points=("test_points", "sum"),
            k=("data_k", "first"),
            d=("data_d", "first"),
            converged=("converged", "mean"),
        )
        .reset_index()
        .rename(columns={"data_n": "n", "data_sigma": "sigma"})
    )
    data["measured"] = data["errors"] / data["points"]
    # O7: Q( √(d/k) / (σ√(1 + σ²k/n)) )
    spread = data["sigma"] * np.sqrt(1 + data["sigma"] ** 2 * data["k"] / data["n"])
    data["closed_form"] = ndtr(-np.sqrt(data["d"] / data["k"]) / spread)
    figure, panels = canvas(2, 2.4)
    scale = PowerNorm(0.5, 0, max(0.05, float(data[["measured", "closed_form"]].max().max())))
    for axes, column, title in zip(panels, ("measured", "closed_form"), ("measured", "closed form O7"), strict=True):
        grid = data.pivot(index="sigma", columns="n", values=column).sort_index(ascending=False)
        text = grid.map(lambda error: f"{100 * error:.2g}" if error == 0 or error > 1e-6 else "≈ 0")
        style = {"cmap": "rocket_r", "norm": scale, "fmt": "", "annot_kws": {"size": 7}}
        seaborn.heatmap(grid, ax=axes, annot=text, cbar_kws={"label": "test error"}, **style)
        axes.set(title=f"{title}, in %", xlabel="training points n", ylabel="noise σ")
    return figure, data


def attacks(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F10: robust accuracy against ε, under each attack and by the certificate."""
    curves = frame[["pgd_curve_eps", "pgd40_curve"]].map(is_curve).all(axis=1)
    final = needed(frame[frame["final"] & curves], "curves of attacks")
    eps = np.array(final["pgd_curve_eps"].tolist(), dtype=float)
    attack_columns = {
        "PGD-40, one start": "pgd40_curve",
        "PGD-40, restarts": "pgd_restarts_curve",
        "universal z": "z_curve",
    }
    robust = {name: 1 - np.array(final[column].tolist(), dtype=float) for name, column in attack_columns.items()}
    if "certificate_radii" in final:
        # fraction of points certified beyond ε, per member; ε is in units of √(d/k)
        radii = np.array(final["certificate_radii"].tolist(), dtype=float)
        radii = radii / np.sqrt(final["data_d"] / final["data_k"]).to_numpy()[:, None]
        robust["certified"] = (radii[:, None, :] > eps[:, :, None]).mean(-1)
    common = {"x": np.median(eps, 0), "n": len(final), "panel": "", "converged": final["converged"].mean()}
    data = pandas.concat([
        pandas.DataFrame({"y": np.median(rate, 0), "low": rate.min(0), "high": rate.max(0), "series": name, **common})
        for name, rate in robust.items()
    ])  # fmt: skip
    figure, (axes,) = canvas(height=3.0)
    lines(axes, data)
    if "robust_certificate_median" in final:
        unit = np.sqrt(final["data_d"] / final["data_k"])
        level = float((final["robust_certificate_median"] / unit).median())
        axes.axvline(level, color=COLOURS[6], lw=1, ls="--", label="robust network: certified")
        point = {"series": "robust network: certified", "x": level, "y": 0.5, "low": 0.5, "high": 0.5}
        data = pandas.concat([data, pandas.DataFrame([point | {k: common[k] for k in ("n", "panel", "converged")}])])
    axes.set(xlabel="ℓ2 norm ε / √(d/k)", ylabel="robust accuracy", ylim=(-0.03, 1.03))
    legend(axes)
    return figure, data


PLOTS = (
    Plot(
        "F5",
        "Test error under noise",
        "Test error in per cent, pooled over seeds, against training points n and noise σ per coordinate; below, the "
        "closed form with plug-in class means (rough for small n).",
        "O7: Q(√(d/k) / (σ√(1 + σ²k/n)))",
        "Two heat maps of test error over noise and number of training points: measured, and closed form.",
        ("cluster_noise",),
        ("data_n", "data_sigma", "test_errors", "test_points"),
        noise,
    ),
    Plot(
        "F10",
        "Robust accuracy by attack",
        "Fraction of correctly classified points that stay correct at norm ε under PGD-40 from one start, PGD-40 with "
        "restarts (worst start for each point) and the single vector z; the certificate is a lower bound. Attacks give "
        f"upper bounds, so lower curves are stronger. Dashed: median certified radius of the robust network. {BAND}",
        "ε in units of √(d/k)",
        "Robust accuracy against the size of the perturbation, one line per attack and one for the certificate.",
        ("cluster_attacks",),
        ("pgd_curve_eps", "pgd40_curve", "pgd_restarts_curve", "z_curve"),
        attacks,
    ),
)
