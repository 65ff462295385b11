"""Figures over gradient-flow time: norms and ranks (F3), with and without attack (F4), transforms (F8)."""

from __future__ import annotations

import pandas
from matplotlib.figure import Figure

from src.report.figures.paper2_rows import (
    BAND,
    LAYER,
    TIME,
    TRAINING,
    WINDOW,
    crossed,
    key,
    moving,
    of_layers,
    time_axis,
    timed,
)
from src.report.figures.style import COLOURS, Plot, canvas, legend, lines, log_ticks, needed, spread

RISK = {"training set": COLOURS[3], "test set": COLOURS[4]}
STEPS = ("learning rate η", "learning rate η/2")
TRANSFORMS = {
    "dct": "DCT-II",
    "dct3": "DCT-III",
    "dft": "DFT",
    "identity": "identity",
    "haar": "Haar",
    "random": "random",
    "authors": "released DCT",
}


def flow(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F3: adversarial loss, F-norms and stable ranks against t, at learning rates η and η/2."""
    rows, tables, names = moving(frame), [], ("FGSM loss", "F-norm", "stable rank")
    needed(rows[rows["vars_training"].isin(["adversarial", "half_lr"])], "adversarial training")
    for run, training in zip(STEPS, ("adversarial", "half_lr"), strict=True):
        part = rows[rows["vars_training"] == training]
        spreads = [
            spread(part, "t", "train_fgsm_loss", "training set", "FGSM loss"),
            spread(part, "t", "test_fgsm_loss", "test set", "FGSM loss"),
            of_layers(part, "t", "fnorm", "F-norm"),
            of_layers(part, "t", "srank", "stable rank"),
        ]
        tables.append(pandas.concat(spreads).assign(run=run))
    data = pandas.concat(tables)
    colour = RISK | LAYER
    figure, panels = canvas(len(names), 1.9)
    for axes, panel in zip(panels, names, strict=True):
        part = data[data["panel"] == panel]
        crossed(axes, part, colour, STEPS)
        time_axis(axes, part)
        axes.set(ylabel=panel)
        log_ticks(axes.yaxis)
    panels[-1].set(xlabel=TIME)
    key(panels[0], colour, STEPS, columns=3)
    return figure, data


def control(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F4: stable ranks and test accuracy under FGSM against t, with adversarial and standard training."""
    rows = moving(needed(frame[frame["vars_training"].isin(list(TRAINING))], "either training"))
    accuracy = "FGSM test accuracy"
    data = pandas.concat([
        *[spread(rows, "t", f"srank_{i}", "vars_training", f"srank, {layer}") for i, layer in enumerate(LAYER, 1)],
        spread(rows, "t", "test_fgsm_accuracy", "vars_training", accuracy),
    ])  # fmt: skip
    names = [*(f"srank, {layer}" for layer in LAYER), accuracy]
    figure, panels = canvas(len(names), 1.55)
    for axes, panel in zip(panels, names, strict=True):
        lines(axes, data[data["panel"] == panel], TRAINING, markers=False)
        time_axis(axes, data)
        axes.set(ylabel=panel)
        if panel != accuracy:
            log_ticks(axes.yaxis)
    panels[-1].set(xlabel=TIME)
    legend(panels[0], title="training")
    return figure, data


def transforms(frame: pandas.DataFrame) -> tuple[Figure, pandas.DataFrame]:
    """Draw F8: stable rank of each layer over its value at the start, against t, one line per transform."""
    rows, start = moving(frame), timed(frame[frame["step"] == 0]).set_index(["cell", "member"])
    of_member = pandas.MultiIndex.from_frame(rows[["cell", "member"]])
    ratios = {f"ratio_{place}": rows[f"srank_{place}"] / start[f"srank_{place}"].reindex(of_member).to_numpy()
              for place in range(1, len(LAYER) + 1)}  # fmt: skip
    rows = rows.assign(**ratios)
    data = pandas.concat([
        spread(rows[rows["model_transform"] == name], "t", f"ratio_{place}", label, layer)
        for place, layer in enumerate(LAYER, 1)
        for name, label in TRANSFORMS.items()
        if (rows["model_transform"] == name).any()
    ])  # fmt: skip
    colour = dict(zip(TRANSFORMS.values(), COLOURS, strict=False))
    figure, panels = canvas(len(LAYER), 1.8)
    for axes, layer in zip(panels, LAYER, strict=True):
        lines(axes, data[data["panel"] == layer], colour, markers=False)
        time_axis(axes, data)
        axes.set(ylabel="srank / at t = 0", title=layer)
        log_ticks(axes.yaxis)
    panels[-1].set(xlabel=TIME)
    legend(panels[0], columns=3)
    return figure, data


PLOTS = (
    Plot(
        "F3",
        "Adversarial training along the gradient flow",
        "Loss under FGSM, F-norm and stable rank of each t-layer against gradient-flow time. Dashed: half the learning "
        f"rate and twice as many steps; the curves coincide where training follows the flow. {WINDOW} {BAND}",
        "t = Σ η · srank(W) = ‖W‖_F² / ‖W‖_sp²",
        "Three panels over gradient-flow time, log–log: loss under attack, F-norms, stable ranks; two learning rates.",
        ("tnn_implicit_rank",),
        ("vars_training", "optimizer_lr", "train_fgsm_loss", "test_fgsm_loss", "fnorm_1", "srank_1"),
        flow,
    ),
    Plot(
        "F4",
        "Rank with and without adversarial training",
        "Stable rank of each t-layer and test accuracy under FGSM against gradient-flow time, for adversarial and for "
        f"standard training, the control. {WINDOW} {BAND}",
        "srank(W) = ‖W‖_F² / ‖W‖_sp²",
        "Four panels over gradient-flow time: stable ranks of three layers and accuracy under attack, two trainings.",
        ("tnn_implicit_rank",),
        ("vars_training", "optimizer_lr", "test_fgsm_accuracy", "srank_1"),
        control,
    ),
    Plot(
        "F8",
        "Other transforms",
        "Stable rank of each t-layer over its value at the start, during adversarial training, for several transforms "
        f"of the tubes. {WINDOW} {BAND}",
        "A *_M B = M⁻¹(M(A)·M(B)), slice by slice",
        "Three panels, one per layer, of the relative stable rank over gradient-flow time, one line per transform.",
        ("tnn_transforms",),
        ("model_transform", "optimizer_lr", "srank_1"),
        transforms,
    ),
)
