"""Figures of students of a low-rank teacher (F9, F11) and of stronger attacks (F10, T2)."""

from __future__ import annotations

import math
from functools import partial

import pandas
from matplotlib.figure import Figure

from src.report.figures.paper2_rows import BAND, HOLLOW, TRAINING, timed
from src.report.figures.style import MARKERS, Plot, Table, canvas, formula, legend, lines, log_ticks, spread

ATTACKS = {"clean": "clean", "fgsm": "FGSM", "pgd10": "PGD-10", "pgd40": "PGD-40", "l2": "ℓ2"}
LIMIT = "√2: limit for deep students"


def students(frame: pandas.DataFrame, x: str, xlabel: str) -> tuple[Figure, pandas.DataFrame]:
    """Draw F9 and F11: harmonic mean of ‖W‖_F/‖W‖_sp over the layers of a student, against its depth or width."""
    rows = timed(frame)
    final = rows[rows["final"]]
    start = rows[rows["step"] == 0].drop_duplicates([x, "seed"])  # the same with and without attack
    order = sorted(final["objective_eps"].astype(float).unique(), reverse=True)
    sizes = sorted(final[x].unique())
    at = {eps: final[final["objective_eps"].astype(float) == eps] for eps in order}
    labels = {eps: f"ε = {eps:g}" if eps else "no attack" for eps in order}
    data = pandas.concat([
        *[spread(at[eps], x, "harmonic_ratio", f"end, {labels[eps]}") for eps in order],
        spread(start, x, "harmonic_ratio", "start"),
        *[spread(at[eps], x, "ratio_bound", f"bound, {labels[eps]}") for eps in order],
        spread(start, x, "teacher_ratio", "teacher").assign(converged=1.0),
        formula(sizes, math.sqrt(2), LIMIT),
    ])  # fmt: skip
    figure, (axes,) = canvas(height=3.4)
    lines(axes, data)
    axes.set_ylim(1, None)
    log_ticks(axes.yaxis)
    axes.set(xlabel=xlabel, ylabel="harmonic mean of ‖W‖_F / ‖W‖_sp", xticks=sizes)
    legend(axes)
    return figure, data


def attacks(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F10: test accuracy under each attack, for adversarial and standard training."""
    data = _accuracies(frame)
    figure, (axes,) = canvas(height=2.7)
    for index, (training, colour) in enumerate(TRAINING.items()):
        part = data[data["series"] == training]
        place = part["x"] + 0.16 * (index - 0.5)
        axes.vlines(place, part["low"], part["high"], color=colour, lw=1.5, alpha=0.6)
        axes.plot(place, part["y"], color=colour, marker=MARKERS[index], linestyle="none", label=training)
    shown = data.drop_duplicates("x")
    axes.set_xticks(shown["x"], shown["attack"])
    axes.set(ylabel="test accuracy", xlabel="attack", xlim=(-0.5, len(ATTACKS) - 0.5))
    legend(axes, title="training")
    return figure, data


def _accuracies(frame: pandas.DataFrame, column: str = "test_{}_accuracy") -> pandas.DataFrame:
    """Return median and range of the final test accuracies; x is the attack's place in ``ATTACKS``."""
    final = timed(frame[frame["final"]])
    tables = []
    for training in TRAINING:
        rows = final[final["vars_training"] == training]
        for place, (attack, name) in enumerate(ATTACKS.items()):
            if column.format(attack) in rows and len(rows):
                of_attack = spread(rows.assign(place=place), "place", column.format(attack), training)
                tables.append(of_attack.assign(attack=name))
    return pandas.concat(tables, ignore_index=True)


def attack_table(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return T2: the numbers of F10, and the losses."""
    table = _accuracies(frame).rename(columns={"series": "training", "y": "test accuracy", "n": "networks"})
    table["test loss"] = _accuracies(frame, "test_{}_loss")["y"]
    table = table.rename(columns={"low": "lowest", "high": "highest"})
    return table[["training", "attack", "test accuracy", "lowest", "highest", "test loss", "networks"]]


PLOTS = (
    Plot(
        "F9",
        "Students of a teacher of tubal rank 1",
        "Harmonic mean of ‖W‖_F/‖W‖_sp over the t-layers of a student, against its depth: at the start, at the end of "
        "training with and without attack, and the upper bound from the final margin (undefined for seeds that "
        f"misclassify a training example). Grey: limit for deep students in the recalled theorem. {BAND} "
        f"{HOLLOW.capitalize()}",
        "n / Σ_l (‖W^l‖_sp/‖W^l‖_F) ≤ γ̂^(−1/n)",
        "Harmonic means of norm ratios over the depth of the student, with bounds above and a grey level at root two.",
        ("tnn_teacher",),
        ("model_depth", "objective_eps", "harmonic_ratio", "ratio_bound", "teacher_ratio"),
        partial(students, x="model_depth", xlabel="t-layers of the student"),
    ),
    Plot(
        "F10",
        "Stronger attacks",
        "Test accuracy of networks trained with FGSM and without attack, under ℓ∞ attacks of the same radius and 40 "
        "steps in an ℓ2 ball. Markers: median over seeds; bars: smallest to largest seed.",
        "ℓ∞: ε = 16/255 · ℓ2: ε = 1",
        "Test accuracy under five attacks, markers with ranges for two trainings.",
        ("tnn_attacks",),
        ("vars_training", "test_fgsm_accuracy", "test_pgd40_accuracy", "test_l2_accuracy"),
        attacks,
    ),
    Plot(
        "F11",
        "Wide students",
        "The mean of F9 for students of six t-layers against their width D, trained with an attack and steps ∝ √D. "
        f"{BAND} {HOLLOW.capitalize()}",
        "n / Σ_l (‖W^l‖_sp/‖W^l‖_F) ≤ γ̂^(−1/n)",
        "Harmonic means of norm ratios over the width of the student: rising at the start, and at the end.",
        ("tnn_width",),
        ("model_width", "objective_eps", "harmonic_ratio", "ratio_bound", "teacher_ratio"),
        partial(students, x="model_width", xlabel="width D of the student"),
    ),
)
TABLES = (
    Table(
        "T2",
        "Attacks on the trained networks",
        "Test accuracy under each attack, median, lowest and highest network, and median loss. ℓ∞: ε = 16/255; "
        "ℓ2: ε = 1.",
        ("tnn_attacks",),
        ("vars_training", "test_fgsm_accuracy", "test_pgd40_accuracy", "test_l2_accuracy"),
        attack_table,
    ),
)
