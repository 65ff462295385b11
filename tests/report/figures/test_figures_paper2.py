import itertools

import numpy as np
import pandas
import pytest

from src.report.figures import paper2, paper2_gap, style
from tests import fabricated

SEEDS, STEPS, SIZES = (101, 102, 103), (0, 1, 100, 1000), (500, 1200, 4000)
LAYERS = (1, 2, 3)


def experiment(name, configs, columns, steps=STEPS, seeds=SEEDS):
    """Return rows as ``store.frame`` does, with numbers from ``columns(config, seed, step)``."""
    rows = []
    for index, config in enumerate(configs):
        for member, seed in enumerate(seeds):
            for step in steps:
                row = {"experiment": name, "cell": f"cell{index}", "member": member, "seed": seed, "step": step}
                row |= {
                    "final": step == steps[-1],
                    "diverged": False,
                    "optimizer_lr": 0.02,
                    "vars_training": "adversarial",
                }
                row |= {"train_clean_accuracy": 1.0} | config
                rows.append(row | columns(row, seed - seeds[0], step))
    return pandas.DataFrame(rows)


def layers(draw, far, fall=1.0):
    """Return columns of three t-layers, at the fraction ``far`` from the start to the end."""
    columns = {"norm_product": 30 + draw}
    for place in LAYERS:
        columns |= {f"fnorm_{place}": 3 + far * place + 0.01 * draw, f"tubal_rank_{place}": 28 - place}
        columns |= {f"srank_{place}": (100 * place + draw) * np.exp(-fall * far * place)}
    return columns


def gaps(row, draw, step):
    """Return a gap proportional to the rank and to 1/√N, and a small one at fixed steps."""
    slope = {4: 4, 28: 6}.get(row["model_rank"], 5) * (1 + 0.1 * draw)
    gap = slope / row["data_n"] ** 0.5
    columns = {"gap_fgsm_loss": gap, "gap_fgsm_accuracy": gap / 10, "gap_released_risk": gap / row["batch_size"]}
    columns |= {"test_clean_accuracy": 0.99, "test_fgsm_accuracy": 0.9 + 0.01 * draw}
    return columns | layers(draw, step / 1000)


def flow(row, draw, step):
    far = step * row["optimizer_lr"] / 20
    columns = {
        "train_fgsm_loss": np.exp(-3 * far) + row["optimizer_lr"],
        "test_fgsm_loss": np.exp(-2 * far) + 0.01 * draw,
    }
    columns |= {"test_fgsm_accuracy": 0.5 + 0.4 * far - 0.01 * draw} | layers(draw, far)
    for place in LAYERS:
        spectrum = np.linspace(1, 0, 8) * np.linspace(1, 0.9, 28)[:, None] * (2 + draw)
        spectrum[:place, 0] *= 1 + far
        columns[f"spectrum_{place}"] = spectrum.ravel().tolist()
    return columns


def penalised(row, draw, step):
    weight, far = row["optimizer_tubal_nuclear"], step / 1000
    dead = step and (weight >= 0.01 or (weight >= 0.003 and draw))
    columns = {"test_fgsm_accuracy": 0.5 if dead else 0.97} | layers(draw, far, 1 + 1000 * weight)
    columns["train_clean_accuracy"] = 0.5 if dead else 1.0
    if dead:
        columns |= {f"srank_{place}": np.nan for place in LAYERS}
        columns |= {f"{name}_{place}": 0.0 for name in ("fnorm", "tubal_rank") for place in LAYERS}
    return columns


def collapsing(row, draw, step):
    return penalised(row, draw, step) | {f"fnorm_{place}": 3 / (1 + step) + draw for place in LAYERS}


def truncated(row, draw, step):
    if step != STEPS[-1]:
        return {}
    lost = 0.2 if row["vars_training"] == "standard" else 0.0
    kept = {"truncated": (1, 4, 32), "largest": (3, 30, 1000)}
    columns = {"truncated_rank": [1, 4, 32], "largest_count": [3, 30, 1000]}
    for name, values in kept.items():
        columns[f"{name}_clean"] = [1 - 0.3 / k - 0.01 * draw for k in values]
        columns[f"{name}_fgsm"] = [1 - lost - 0.3 / k - 0.01 * draw for k in values]
    return columns


def taught(row, draw, step):
    learned = step == STEPS[-1]
    ratio = 1.5 + 0.1 * draw + bool(row["objective_eps"]) if learned else 3.4 + 0.01 * draw
    bound = np.inf if not learned or (row["model_depth"] == 1 and draw == 0) else 10.0 / row["model_depth"]
    return {"harmonic_ratio": ratio, "ratio_bound": bound, "teacher_ratio": 1.7, "train_error": 0.0 if learned else 0.5}


def attacked(row, draw, step):
    if step != STEPS[-1]:
        return {}
    strength = {"clean": 0, "fgsm": 1, "pgd10": 2, "pgd40": 3, "l2": 4}
    weak = 2 if row["vars_training"] == "standard" else 1
    accuracy = {f"test_{name}_accuracy": 0.99 - 0.05 * weak * s - 0.01 * draw for name, s in strength.items()}
    return accuracy | {f"test_{name}_loss": 0.1 * s + draw for name, s in strength.items()}


def bounded(row, draw, step):
    factor = 1 if pandas.isna(row["model_rank"]) else 0.5
    columns = {"gap_fgsm_loss": 0.1 + draw, "bound_standard": 10.0, "bound_adversarial": 1000.0 + draw}
    columns |= {"bound_approximate": 500 * factor}
    return columns | {"bound_low_rank": 1000 * factor, "parameters_full": 2352, "parameters_low_rank": 2352 * factor}


def configs(**lists):
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


@pytest.fixture(scope="module")
def frames():
    sizes = {"data_n": SIZES, "batch_size": [50]}
    at_epochs = [config | {"steps": 20 * config["data_n"] // 50} for config in configs(model_rank=[4, 28], **sizes)]
    as_released = [config | {"batch_size": 50 if config["model_rank"] == 4 else 30} for config in at_epochs]
    trainings = configs(vars_training=["adversarial", "standard"])
    weights = configs(optimizer_tubal_nuclear=[0.0, 1e-3, 3e-3, 1e-2], objective_tubal_nuclear=[0.0])
    transforms = configs(model_transform=["dct", "dft"])
    students = configs(model_depth=[1, 3], objective_eps=[0.02, 0.0])
    half = experiment(
        "tnn_implicit_rank", [{"vars_training": "half_lr", "optimizer_lr": 0.01}], flow, [2 * s for s in STEPS]
    )
    return {
        "tnn_generalization_gap": experiment("tnn_generalization_gap", at_epochs, gaps),
        "tnn_matched_loss": experiment("tnn_matched_loss", configs(model_rank=[4, None], steps=[1500], **sizes), gaps),
        "tnn_fixed_steps": experiment("tnn_fixed_steps", configs(model_rank=[4], steps=[800], **sizes), gaps),
        "tnn_released_gap": experiment("tnn_released_gap", as_released, gaps),
        "tnn_implicit_rank": pandas.concat(
            [experiment("tnn_implicit_rank", trainings, flow), half.assign(cell="half")], ignore_index=True
        ),
        "tnn_nuclear_norm": experiment("tnn_nuclear_norm", weights, penalised),
        "tnn_collapse": experiment(
            "tnn_collapse", configs(optimizer_tubal_nuclear=[0.0], objective_tubal_nuclear=[0.01]), collapsing
        ),
        "tnn_truncation": experiment("tnn_truncation", trainings, truncated),
        "tnn_transforms": experiment("tnn_transforms", transforms, flow),
        "tnn_teacher": experiment("tnn_teacher", students, taught).drop(columns="train_clean_accuracy"),
        "tnn_width": experiment(
            "tnn_width", configs(model_width=[8, 16], objective_eps=[0.02], model_depth=[6]), taught
        ),
        "tnn_attacks": experiment("tnn_attacks", trainings, attacked),
        "tnn_bounds": experiment("tnn_bounds", configs(model_rank=[4, None], data_n=[500, 2000]), bounded),
    }


def rows_of(one, frames):
    return pandas.concat([frames[name] for name in one.experiments], ignore_index=True)


@pytest.fixture(scope="module")
def drawn(frames):
    with style.rc_context():
        return {plot.id: plot.draw(rows_of(plot, frames)) for plot in paper2.PLOTS}


@pytest.fixture(scope="module")
def tables(frames):
    return {table.id: table.make(rows_of(table, frames)) for table in paper2.TABLES}


def plot(name):
    return next(plot for plot in paper2.PLOTS if plot.id == name)


def test_figures_say_what_they_show_and_hand_back_finite_data(drawn):
    fabricated.check_figures(paper2.PLOTS, drawn)


def test_gaps_are_those_of_the_rows_and_lines_go_through_their_means(drawn, frames):
    data = drawn["F1"][1].set_index(["panel", "series"])
    for name, panel in (
        ("tnn_generalization_gap", "gap in FGSM loss"),
        ("tnn_fixed_steps", "gap in FGSM loss, fixed steps"),
    ):
        part = data.loc[(panel, "r = 4")].set_index("x")
        gap = frames[name].query("final and model_rank == 4").groupby("data_n")["gap_fgsm_loss"]
        for size in SIZES:
            point = part.loc[size**-0.5]
            expected = [gap.get_group(size).agg(statistic) for statistic in ("median", "min", "max")]
            assert [point["y"], point["low"], point["high"]] == expected
        fit = data.loc[(panel, "fit, r = 4")]
        assert (fit["n"] == 0).all()
        assert fit["x"].iloc[0] == 0
        np.testing.assert_allclose(fit["y"], 4.4 * fit["x"], atol=1e-12)  # the mean slope, through zero as in the rows


def test_the_legend_has_what_only_other_panels_show(drawn):
    (legend,) = drawn["F1"][0].legends
    assert {text.get_text() for text in legend.get_texts()} >= {"r = 4", "r = 28", "whole layers"}


def test_a_line_does_not_go_through_zero_when_the_gaps_do_not(frames):
    rows = frames["tnn_generalization_gap"].copy()
    rows["gap_fgsm_loss"] += 0.25
    with style.rc_context():
        _, data = paper2_gap.gap(rows)
    fit = data[(data["series"] == "fit, r = 28") & (data["panel"] == "gap in FGSM loss")]
    assert fit["y"].iloc[0] == pytest.approx(0.25)


def test_a_smaller_batch_counts_for_more_as_released_and_the_divided_points_show_it(drawn):
    data = drawn["F2"][1].set_index(["panel", "series"])
    counted, mean = data.index.get_level_values("panel").unique()
    own, divided = data.loc[(counted, "r = 28")], data.loc[(counted, "r = 28 ÷ 1.67")]
    np.testing.assert_allclose(own["y"].to_numpy() / divided["y"].to_numpy(), 50 / 30)
    np.testing.assert_allclose(divided["y"].to_numpy(), data.loc[(mean, "r = 28"), "y"].to_numpy() / 50)


def test_curves_are_told_at_the_same_flow_time_at_both_step_sizes(drawn, frames):
    data = drawn["F3"][1].set_index(["panel", "series", "run"])
    for panel in ("FGSM loss", "F-norm", "stable rank"):
        series = "training set" if panel == "FGSM loss" else "layer 2"
        whole, half = (data.loc[(panel, series, run)] for run in ("learning rate η", "learning rate η/2"))
        assert (
            whole["x"].tolist() == half["x"].tolist() == [2, 20]
        )  # steps 100 and 1000 at 0.02; step 1 is before T/200
        further = 0.01 if series == "training set" else 0  # as the rows have it
        np.testing.assert_allclose(whole["y"].to_numpy(), half["y"].to_numpy() + further)
    rows = frames["tnn_implicit_rank"].query("vars_training == 'adversarial' and step == 1000")
    end = data.loc[("stable rank", "layer 3", "learning rate η")].iloc[-1]
    assert (end["y"], end["low"]) == (rows["srank_3"].median(), rows["srank_3"].min())


def test_the_control_stands_beside_adversarial_training(drawn, frames):
    data = drawn["F4"][1].set_index(["panel", "series", "x"])
    for training in ("adversarial", "standard"):
        rows = frames["tnn_implicit_rank"].query("vars_training == @training and step == 100")
        assert data.loc[("srank, layer 2", training, 2), "y"] == rows["srank_2"].median()
        assert data.loc[("FGSM test accuracy", training, 2), "high"] == rows["test_fgsm_accuracy"].max()


def test_spectra_are_slice_by_slice_and_in_units_of_the_start(drawn, frames):
    data = drawn["F5"][1].set_index(["panel", "moment", "slice"]).sort_index()
    assert set(data["seed"]) == {101}
    row = frames["tnn_implicit_rank"].query("vars_training == 'adversarial' and seed == 101 and final").iloc[0]
    largest = 2.0
    second = data.loc[("layer 3", "end", 2)]
    assert second["index"].tolist() == list(range(1, 9))
    np.testing.assert_allclose(second["value"], np.array(row["spectrum_3"][8:16]) / largest)
    assert data.loc["layer 1", "start"]["value"].max() == 1


def test_dead_layers_have_no_stable_rank_and_the_median_decides_what_is_grey(drawn, frames):
    figure, data = drawn["F6"]
    table = data.set_index(["panel", "series", "x"]).sort_index()
    assert set(table.loc[("stable rank", "layer 1")].index) == {0, 1e-3, 3e-3}
    assert table.loc[("stable rank", "layer 1", 3e-3), "n"] == 1
    assert table.loc[("tubal rank", "layer 2", 1e-2), "y"] == 0
    rows = frames["tnn_nuclear_norm"].query("final and optimizer_tubal_nuclear == 0.001")
    assert table.loc[("F-norm", "layer 3", 1e-3), "y"] == rows["fnorm_3"].median()
    assert table.loc[("F-norm", "layer 1", 0), "y"] == 4.01
    assert table.loc[("F-norm, released penalty", "layer 1", 20), "y"] == pytest.approx(3 / 1001 + 1)
    accuracy = figure.axes[2]
    assert [tick.get_text() for tick in accuracy.get_xticklabels()] == ["0", "0.001", "0.003", "0.01"]
    (grey,) = accuracy.patches
    assert 1e-3 < grey.get_x() < 3e-3
    assert (table.loc[("FGSM test accuracy", "network", 3e-3), "converged"]) == pytest.approx(1 / 3)


def test_without_the_released_penalty_there_is_no_panel_of_it(frames):
    with style.rc_context():
        figure, data = plot("F6").draw(frames["tnn_nuclear_norm"])
    assert len(figure.axes) == 4
    assert not data["panel"].str.contains("released").any()


def test_truncation_curves_are_those_of_the_rows(drawn, frames):
    data = drawn["F7"][1].set_index(["panel", "series", "run"])
    for training in ("adversarial", "standard"):
        rows = frames["tnn_truncation"].query("final and vars_training == @training")
        part = data.loc[("tubal rank kept", "FGSM", training)]
        assert part["x"].tolist() == [1, 4, 32]
        np.testing.assert_allclose(part["y"], np.median(rows["truncated_fgsm"].tolist(), 0))
        part = data.loc[("singular values kept per layer", "clean", training)]
        np.testing.assert_allclose(part["low"], np.min(rows["largest_clean"].tolist(), 0))


def test_stable_ranks_under_every_transform_are_relative_to_their_own_start(drawn, frames):
    data = drawn["F8"][1].set_index(["panel", "series", "x"])
    rows = frames["tnn_transforms"].query("model_transform == 'dft'")
    share = rows.query("step == 1000")["srank_2"].to_numpy() / rows.query("step == 0")["srank_2"].to_numpy()
    assert data.loc[("layer 2", "DFT", 20), "y"] == pytest.approx(np.median(share))


def test_students_keep_bounds_that_are_finite_and_one_start_a_seed(drawn):
    data = drawn["F9"][1].set_index(["series", "x"])
    assert data.loc[("end, ε = 0.02", 3), "y"] == pytest.approx(2.6)
    assert data.loc[("end, no attack", 3), "y"] == pytest.approx(1.6)
    assert data.loc[("bound, no attack", 1), "n"] == 2
    assert data.loc[("start", 1), "n"] == 3
    assert data.loc[("teacher", 3), "y"] == 1.7
    (limit,) = data.loc[data["n"] == 0, "y"].unique()
    assert limit == pytest.approx(2**0.5)


def test_attacks_are_those_of_the_rows_in_figure_and_table(drawn, tables, frames):
    data = drawn["F10"][1].set_index(["series", "attack"])
    table = tables["T2"].set_index(["training", "attack"])
    rows = frames["tnn_attacks"].query("final and vars_training == 'standard'")
    for point in (data.loc[("standard", "PGD-40")], table.loc[("standard", "PGD-40")].rename({"test accuracy": "y"})):
        assert point["y"] == rows["test_pgd40_accuracy"].median()
    assert table.loc[("standard", "ℓ2"), "lowest"] == rows["test_l2_accuracy"].min()
    assert table.loc[("adversarial", "FGSM"), "test loss"] == pytest.approx(1.1)
    assert (table["networks"] == 3).all()


def test_tables_are_medians_and_whole_layers_have_a_row(tables, frames):
    bounds = tables["T3"].set_index(["r", "N"])
    assert set(bounds.index) == {("4", 500), ("4", 2000), ("whole", 500), ("whole", 2000)}
    assert bounds.loc[("whole", 500), "adversarial bound"] == 1001
    assert bounds.loc[("4", 2000), "parameters, low rank"] == 1176
    gap = tables["T4"].set_index(["experiment", "r", "N"])
    rows = frames["tnn_released_gap"].query("final and model_rank == 28 and data_n == 1200")
    point = gap.loc[("tnn_released_gap", "28", 1200)]
    assert point["gap in FGSM loss"] == rows["gap_fgsm_loss"].median()
    assert point["‖w‖·∏‖W‖_F"] == 31


def test_hollow_markers_where_a_seed_was_not_trained(frames):
    rows = frames["tnn_generalization_gap"].copy()
    rows.loc[(rows["data_n"] == 500) & (rows["member"] == 0), "train_clean_accuracy"] = 0.6
    with style.rc_context():
        figure, data = paper2_gap.gap(rows)
    assert set(data.loc[data["converged"] < 1, "x"]) == {500**-0.5}
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert all(list(line.get_xdata()) == [500**-0.5] for line in hollow)
    assert hollow


def test_half_finished_sweeps_are_drawn(frames):
    fabricated.draw_cells_alone(paper2.PLOTS, frames)


@pytest.mark.parametrize("what", fabricated.NOTHING)
def test_panels_without_a_finite_value_say_so(what, frames):
    fabricated.draw_without_values(paper2.PLOTS, frames, what)
