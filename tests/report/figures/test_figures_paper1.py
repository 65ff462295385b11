import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas
import pytest
from scipy.stats import norm

from src.report.figures import paper1, style
from tests import fabricated

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return fabricated.frames(fabricated.paper1(tmp_path_factory.mktemp("outputs")))


def rows_of(plot, frames):
    return pandas.concat([frames[name] for name in plot.experiments], ignore_index=True)


@pytest.fixture(scope="module")
def drawn(frames):
    with style.rc_context():
        return {plot.id: plot.draw(rows_of(plot, frames)) for plot in paper1.PLOTS}


def test_figures_say_what_they_show_and_hand_back_finite_data(drawn):
    fabricated.check_figures(paper1.PLOTS, drawn)


@pytest.mark.parametrize(("name", "swept"), [("F1", "data_k"), ("F2", "data_d")])
def test_radii_are_those_of_the_rows(name, swept, drawn, frames):
    experiment = {"F1": "cluster_k_scaling", "F2": "cluster_d_scaling"}[name]
    final = frames[experiment].query("final")
    data = drawn[name][1]
    for series, column in (("universal z, half flipped", "z_r50"), ("certified", "certificate_median")):
        part = data[data["series"] == series].set_index("x")
        radius = final.groupby(swept)[column]
        pandas.testing.assert_series_equal(part["y"], radius.median(), check_names=False)
        pandas.testing.assert_series_equal(part["low"], radius.min(), check_names=False)
        pandas.testing.assert_series_equal(part["high"], radius.max(), check_names=False)
        assert (part["n"] == 5).all()
    closed = data[data["series"] == "√(d/k)"]
    assert (closed["n"] == 0).all()
    measured = data[data["series"] == "universal z, half flipped"]
    np.testing.assert_allclose(closed["y"], measured["y"], rtol=0.01)


def test_the_lines_on_the_canvas_are_the_data(drawn):
    figure, data = drawn["F1"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    for series, part in data.groupby("series"):
        np.testing.assert_array_equal(lines[series].get_ydata(), part["y"])


def test_flip_curves_are_one_per_configuration(drawn, frames):
    data = drawn["F3"][1]
    configurations = {cell for name in frames for cell in frames[name]["experiment"] + frames[name]["cell"]}
    left_out = ("cluster_trajectory", "cluster_robust_start", "cluster_full_space", "cluster_trainers")
    left_out += ("cluster_groups", "cluster_joint_scaling")
    wanted = {name for name in configurations if not name.startswith(left_out)}
    assert set(data["panel"] + data["series"]) == wanted
    row = frames["cluster_attacks"].query("final").iloc[0]
    curve = data[data["panel"] == "cluster_attacks"]
    np.testing.assert_allclose(curve["y"], row["curve_flip"])
    np.testing.assert_allclose(curve["x"], row["curve_radius"])


def test_trajectories_have_one_line_per_initialisation(drawn, frames):
    data = drawn["F4"][1]
    assert set(data["series"]) == {"1e-06", "0.001"}
    end = data[(data["x"] == 2000) & (data["panel"] == "slackness") & (data["series"] == "1e-06")]
    rows = frames["cluster_trajectory"].query("final and model_init_scale == 1e-6")
    assert end["y"].item() == rows["slackness"].median()


def test_error_map_pools_errors_and_stands_beside_o7(drawn):
    data = drawn["F5"][1].set_index(["n", "sigma"])
    assert data.loc[(16, 8.0), "measured"] == pytest.approx(200 / 5000)
    spread = 8 * np.sqrt(1 + 64 * 8 / 16)
    assert data.loc[(16, 8.0), "closed_form"] == pytest.approx(norm.sf(np.sqrt(4096 / 8) / spread))


def test_weights_per_point_count_w_b_and_v(drawn):
    data = drawn["F6"][1]
    radius = data[data["series"] == "universal z"]
    np.testing.assert_allclose(radius["x"], np.array([4, 16, 64, 256, 1024]) * (8 + 128 + 2) / 128)


def test_balance_is_the_share_of_the_rarer_label(drawn):
    data = drawn["F7"][1]
    allowed = data[data["series"].str.startswith("1/c")]
    np.testing.assert_allclose(allowed["x"], [1 / 32, 4 / 32, 16 / 32])
    np.testing.assert_allclose(allowed["y"], [32, 8, 2])


def test_robust_start_begins_at_one_and_knows_o8(drawn):
    data = drawn["F8"][1]
    radius = data[data["panel"].str.startswith("attack")]
    assert (radius.loc[(radius["x"] == 0) & (radius["n"] > 0), "y"] == 1).all()
    o8 = radius[radius["series"] == "O8, k = 8"]["y"]
    np.testing.assert_allclose(o8, np.sqrt(4096 / (1 + 8 / 2)) / np.sqrt(4096 / 2))


def test_cosines_are_neuron_by_mean(drawn, frames):
    data = drawn["F9"][1]
    row = frames["cluster_trajectory"].query("final and model_init_scale == 1e-6").iloc[0]
    third = data[data["neuron"] == 3].sort_values("mean")
    np.testing.assert_array_equal(third["cosine"], row["neuron_mean_cosine"][16:24])
    assert third["contribution"].unique() == [row["neuron_contribution"][2]]


def test_robust_accuracy_is_what_is_not_flipped_and_certificates_are_counted(drawn, frames):
    data = drawn["F10"][1]
    rows = frames["cluster_attacks"].query("final")
    pgd = data[data["series"] == "PGD-40, one start"]
    np.testing.assert_allclose(pgd["y"], 1 - np.array(rows["pgd40_curve"].iloc[0]))
    certified = data[data["series"] == "certified"].set_index("x")
    radii = [np.array(r) / np.sqrt(4096 / 8) for r in rows["certificate_radii"]]
    assert certified.loc[1.0, "low"] == min((r > 1).mean() for r in radii)


def test_hollow_markers_where_a_seed_has_not_converged(frames):
    rows = frames["cluster_k_scaling"].copy()
    rows.loc[(rows["data_k"] == 32) & (rows["member"] == 0), "converged"] = False
    with style.rc_context():
        figure, data = paper1.PLOTS[0].draw(rows)
    measured = data[data["n"] > 0]
    assert set(measured.loc[measured["converged"] < 1, "x"]) == {32}
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert hollow
    assert all(list(line.get_xdata()) == [32] for line in hollow)


PERSONAL = {"text.usetex": True, "savefig.bbox": "tight", "savefig.facecolor": "black", "axes.facecolor": "pink"}
PERSONAL |= {"font.size": 20, "lines.linewidth": 9, "axes.formatter.use_locale": True, "axes.unicode_minus": False}
PERSONAL |= {"figure.constrained_layout.h_pad": 1, "image.cmap": "jet", "path.simplify": False, "pdf.compression": 0}


def test_personal_settings_of_matplotlib_do_not_reach_a_figure(tmp_path, frames):
    plot = paper1.PLOTS[4]  # a heat map, with text
    for name, personal in (("ours", {}), ("personal", PERSONAL)):
        with mpl.rc_context(personal):
            with style.rc_context():
                style.save(plot.draw(rows_of(plot, frames))[0], tmp_path / name)
            assert not personal or mpl.rcParams["lines.linewidth"] == 9, "and they are kept for others"
    for suffix in (".png", ".pdf"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"personal{suffix}").read_bytes()


def test_neither_a_backend_nor_a_file_of_settings_stops_the_import(tmp_path, backend="qtagg"):
    (tmp_path / "matplotlibrc").write_bytes("text.usetex: True\nfont.family: caf\xe9\n".encode("latin-1"))
    program = (
        "import os, src.report.figures.style, matplotlib; print(os.environ['MPLBACKEND'], matplotlib.get_backend())"
    )
    environment = os.environ | {"MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"{backend} agg".strip(), "")


def test_values_that_are_not_finite_are_left_out_of_spreads():
    frame = pandas.DataFrame({"x": [1, 1, 1], "y": [1.0, np.inf, 3.0], "converged": True})
    row = style.spread(frame, "x", "y", "it").iloc[0]
    assert (row["y"], row["low"], row["high"], row["n"]) == (2.0, 1.0, 3.0, 2)


def test_words_for_those_who_do_not_see_the_lines():
    frame = pandas.DataFrame({"x": [1, 2], "y": [5.0, 7.0], "converged": True})
    assert style.describe(style.spread(frame, "x", "y", "radius")) == "radius: 5 at 1, 7 at 2."
    named = pandas.DataFrame({"panel": "", "series": "radius", "x": ["Signum"], "y": [5.0], "n": [1]})
    assert style.describe(named) == "radius: 5 at Signum, 5 at Signum."


def test_attack_table(frames):
    table = paper1.attack_table(frames["cluster_attacks"]).set_index("quantity")
    assert table.loc["PGD-40, one start, 1.06·√(d/k)", "median"] == 0.7
    assert table.loc["certificate / √(d/k)", "median"] == pytest.approx(0.98, abs=0.01)
    assert (table["networks"] == 5).all()


def test_assumption_table_has_every_configuration_and_says_whether_it_is_met(frames):
    table = paper1.assumption_table(pandas.concat(frames.values(), ignore_index=True))
    literal = table[table["experiment"] == "cluster_literal"]
    assert literal["met"].tolist() == ["yes"] * 3
    noisy = table[(table["experiment"] == "cluster_noise") & (table["sigma"] == 8)]
    assert set(noisy["met"]) == {"no"}
    assert ((table["left"] <= table["right"]) == (table["met"] == "yes")).all()


def test_half_finished_sweeps_are_drawn(frames):
    fabricated.draw_cells_alone(paper1.PLOTS, frames)


@pytest.mark.parametrize("what", fabricated.NOTHING)
def test_panels_without_a_finite_value_say_so(what, frames):
    fabricated.draw_without_values(paper1.PLOTS, frames, what)
