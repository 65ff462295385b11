"""Figures and tables of Frei, Vardi, Bartlett & Srebro (2023), in the order of the report."""

from __future__ import annotations

import pandas

from src.report.figures import paper1_errors, paper1_scaling, paper1_training
from src.report.figures.style import Table, in_order

TITLE = "Frei, Vardi, Bartlett & Srebro, “The Double-Edged Sword of Implicit Bias” (NeurIPS 2023)"

FRACTIONS = {
    "universal z, 1.15·√(d/k)": "z_flip",
    "z with shuffled signs, 1.15·√(d/k)": "shuffled_flip",
    "one pair of means, 1.15·√(d/k)": "pair_flip",
    "Gaussian direction, 1.15·√(d/k)": "gaussian_flip",
    "universal z, 1.06·√(d/k)": "pgd_z_flip",
    "PGD-40, one start, 1.06·√(d/k)": "pgd40_flip",
    "PGD-40, restarts, 1.06·√(d/k)": "pgd40_restarts_flip",
    "PGD-2000 from the point, 1.06·√(d/k)": "pgd2000_flip",
    "gradient exactly 0 at the point": "zero_gradient",
    "gradient exactly 0 where PGD-40 ends": "pgd_zero_gradient",
}
NORMS = {
    "smallest perturbation found / √(d/k)": "attack_median",
    "certificate / √(d/k)": "certificate_median",
    "universal z, half flipped / √(d/k)": "z_r50",
}


def attack_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T2: results of each attack on the trained networks, median and range over seeds."""
    final = frame[frame["final"]]
    unit = (final["data_d"] / final["data_k"]) ** 0.5
    values = {name: final[column] for name, column in FRACTIONS.items() if column in final}
    values |= {name: final[column] / unit for name, column in NORMS.items() if column in final}
    rows = [
        {"quantity": name, "median": v.median(), "lowest": v.min(), "highest": v.max(), "networks": v.notna().sum()}
        for name, v in values.items()
    ]
    return pandas.DataFrame(rows).assign(converged=final["converged"].mean())


def assumption_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T3: both sides of Assumption 2.2 (recalled form) for every configuration, in the worst seed."""
    final = frame[frame["final"] & frame["assumption_left"].notna()]
    keys = ["experiment", "data_k", "data_d", "data_sigma", "data_n", "data_means", "data_rho"]
    table = final.groupby([key for key in keys if key in final], dropna=False, sort=False).agg(
        left=("assumption_left", "max"), right=("assumption_right", "min"), converged=("converged", "mean")
    )
    table["met"] = (table["left"] <= table["right"]).map({True: "yes", False: "no"})
    return table.reset_index().rename(columns=lambda name: name.removeprefix("data_"))


PLOTS = in_order(paper1_scaling.PLOTS + paper1_training.PLOTS + paper1_errors.PLOTS)
TABLES = (
    Table(
        "T2",
        "Attacks on the trained networks",
        "Fractions of test points whose sign flips (strictly) at two norms, or with a gradient of exactly 0, and norms "
        "that flip them; median, lowest and highest network. For each point the worst restart counts.",
        ("cluster_attacks",),
        ("z_flip", "data_d", "data_k"),
        attack_table,
    ),
    Table(
        "T3",
        "Is the assumption met?",
        "k(max|⟨μᵢ,μⱼ⟩| + 4σ√d·ln d + 1) ≤ (d − 4σ√d·ln d + 1)/10, Assumption 2.2 in its recalled form; worst seed of "
        "each configuration.",
        (),
        ("assumption_left", "assumption_right"),
        assumption_table,
    ),
)
