import itertools

import numpy as np
import pandas
import pytest

from src.report.figures import paper3, paper3_norms, paper3_published, style
from src.report.figures.paper3_rows import NORMS, OPTIMIZERS, OWN
from src.report.figures.paper3_training import FRACTIONS, LOSSES, margin_vs_loss
from src.report.figures.paper3_variants import momentum
from tests import fabricated

STEPS, SEEDS = (0, 1, 10, 50, 100, 400), (101, 102, 103)
COMPARED = ("ngd", "nmd", "signum", "adam", "muon", "muon_signum", "muon_adam")


def member(experiment, cell, seed, step, config, draw):
    """Return a row on power laws: log γ is linear in −log loss for every seed."""
    name = config["optimizer_name"]
    far = step / STEPS[-1]
    row = {"experiment": experiment, "cell": cell, "member": seed - SEEDS[0], "seed": seed, "step": step}
    row |= {"final": step == STEPS[-1], "matched": 1e-8 if step == 100 else None}
    row |= {"converged": False, "compare_at_loss": [0.1, 1e-8], "own_steps": step, "steps_taken": STEPS[-1]}
    row |= {"log_risk": -1 - far * (40 + draw), "norm": 1 + 9 * far, "train_error": 0.0, "test_error": 0.1}
    for norm in NORMS:
        own = OWN.get(name) == norm
        row[f"gamma_{norm}"] = np.exp(0.05 * -row["log_risk"]) * ((10 if own else 1) + 0.1 * draw)
        row[f"kappa_{norm}"] = (0.9 if own else 0.3) * (0.5 + far / 2) - 0.01 * draw
        row[f"ratio_{norm}"] = row[f"certified_{norm}"] = 1 - (0.5 + 0.1 * draw) / np.sqrt(1 + step)
    own = OWN.get(name, "linf")
    return row | {"gamma_own": row[f"gamma_{own}"], "kappa_own": row[f"kappa_{own}"]} | config


def experiment(name, configs, curves=lambda config, draw: {}):
    rows = []
    for index, config in enumerate(configs):
        random = np.random.default_rng(index)
        for seed in SEEDS:
            draw, turn = random.uniform(), random.standard_normal(64) / 64
            for step in STEPS:
                row = member(name, f"cell{index}", seed, step, config, draw)
                direction, last = (np.eye(64)[index] + turn / (1 + at) for at in (step, STEPS[-1]))
                direction, last = direction / np.linalg.norm(direction), last / np.linalg.norm(last)
                row |= {"direction_sketch": list(direction), "cosine_to_last": direction @ last}
                rows.append(row | (curves(config, draw) if row["final"] else {}))
    return pandas.DataFrame(rows)


def curve(family, axis, at, keys):
    def of(config, draw):
        kappa = [0.9 - 0.2 * abs(np.log(key / config[at])) + 0.01 * draw for key in keys]
        return {axis: list(keys), f"kappa_{family}_curve": kappa, f"gamma_{family}_curve": [2 * k for k in kappa]}

    return of


def configs(names, **lists):
    return [
        {"optimizer_name": name} | dict(zip(lists, values, strict=True))
        for name in names
        for values in itertools.product(*lists.values())
    ]


POLAR = [{"optimizer_name": "muon", "optimizer_polar_factor": factor} for factor in ("svd", "gram")]
POLAR += configs(
    ["muon_newton_schulz"],
    optimizer_coefficients=["muon", "polar_express"],
    optimizer_steps=[1.0, 5.0],
    optimizer_precision=["bfloat16"],
)
RATIOS, EXPONENTS = (0.1, 0.3, 1.0, 3.0), (2.0, 4.0, 8.0)


@pytest.fixture(scope="module")
def frames():
    size = paper3_published.PROTOCOL | {"model_power": 2.0}
    size |= dict(zip(("data_negative", "data_positive"), paper3_published.DIGITS, strict=True))
    compared = [{"optimizer_name": name} | size for name in COMPARED]
    deep = {"model_depth": [4], "model_power": [1.0], "optimizer_exponent": [0.5, 0.8, 1.0]}
    made = {name: experiment(name, compared) for name in ("muon_margin", "relu_margin", "cifar_margin")}
    made |= {
        "hybrid_margin": experiment(
            "hybrid_margin",
            configs(["muon_adam"], optimizer_ratio=[0.1, 1.0]),
            curve("hyb", "hyb_ratio", "optimizer_ratio", RATIOS),
        ),
        "linear_margin": experiment(
            "linear_margin",
            configs(["nmd", "signum", "muon"], data_name=["separable", "mnist"], optimizer_exponent=[0.1]),
        ),
        "base_rate_margin": experiment("base_rate_margin", configs(["nmd", "muon"], vars_factor=[0.5, 0.7, 1, 1.4, 2])),
        "schatten_margin": experiment(
            "schatten_margin",
            configs(["steepest"], optimizer_p=list(EXPONENTS)),
            curve("schatten", "schatten_p", "optimizer_p", EXPONENTS),
        ),
        "polar_margin": experiment("polar_margin", POLAR),
        "epsilon_margin": experiment("epsilon_margin", configs(["adam"], optimizer_epsilon=[0.0, 1e-8, 1e-4])),
        "deep_margin": experiment("deep_margin", configs(["nmd", "muon"], **deep)),
        "momentum_margin": experiment(
            "momentum_margin", configs(["nmd", "muon"], optimizer_lr=[1.0, 2.0], optimizer_momentum=[0.0, 0.9])
        ),
    }
    return made


@pytest.fixture(scope="module")
def drawn(frames):
    with style.rc_context():
        return {plot.id: plot.draw(frames[plot.experiments[0]]) for plot in paper3.PLOTS}


def test_figures_say_what_they_show_and_hand_back_finite_data(drawn):
    fabricated.check_figures(paper3.PLOTS, drawn)


def test_margins_are_read_at_equal_losses(drawn):
    """Interpolation is exact, since log γ is linear in the log-loss of the rows."""
    data = drawn["F1"][1]
    assert set(data["x"]) <= set(LOSSES)
    assert set(data["series"]) == {OPTIMIZERS[name] for name in COMPARED}
    for name, norm in itertools.product(("nmd", "adam"), NORMS):
        part = data[(data["series"] == OPTIMIZERS[name]) & (data["panel"] == NORMS[norm])]
        assert len(part) > 5
        largest = 10 if OWN[name] == norm else 1
        scale = part[["low", "y", "high"]].div(np.exp(0.05 * np.log(10) * part["x"]), axis=0)
        assert scale.stack().between(largest, largest + 0.1).all()
        complete = scale[part["n"] == len(SEEDS)]
        np.testing.assert_allclose(complete - complete.iloc[0], 0, atol=1e-9)


def test_an_optimizer_that_never_fits_has_no_line(frames):
    rows = frames["muon_margin"].copy()
    rows.loc[rows["optimizer_name"] == "adam", [f"gamma_{norm}" for norm in NORMS]] = -1.0
    with style.rc_context():
        _, data = margin_vs_loss(rows)
    assert set(data["series"]) == {OPTIMIZERS[name] for name in COMPARED if name != "adam"}


def test_angles_are_those_of_the_sketches_and_growth_that_of_the_norm(drawn, frames):
    data = drawn["F2"][1]
    part = data[(data["series"] == "Muon") & (data["panel"] == "1 − cos(θ_t, θ_T)")].set_index("x")
    rows = frames["muon_margin"].query("optimizer_name == 'muon' and 0 < step < 400")
    x = min(set(FRACTIONS) & set(part.index), key=lambda share: abs(share - 0.1))
    turns = [
        np.exp(np.interp(x, one["step"] / STEPS[-1], np.log(1 - one["cosine_to_last"])))
        for _, one in rows.groupby("seed")
    ]
    assert part.loc[x, "y"] == pytest.approx(np.median(turns))
    assert part.loc[x, "high"] == pytest.approx(max(turns))
    growth = data[(data["series"] == "Muon") & (data["panel"] == "‖θ_T‖ / ‖θ_t‖")]
    assert growth["y"].between(1, 10).all()
    assert growth["y"].is_monotonic_decreasing


def test_heat_maps_hold_medians_and_shares_of_the_largest_at_both_moments(drawn, frames):
    figure, data = drawn["F3"]
    for moment, rows in (("at matched loss", "matched == 1e-8"), ("at the last step", "final")):
        medians = frames["muon_margin"].query(rows).groupby("optimizer_name")[["gamma_msp", "kappa_msp"]].median()
        part = data[(data["panel"] == moment) & (data["norm"] == "msp")].set_index("series")
        for name in COMPARED:
            assert part.loc[OPTIMIZERS[name], "kappa"] == medians.loc[name, "kappa_msp"]
            share = medians.loc[name, "gamma_msp"] / medians["gamma_msp"].max()
            assert part.loc[OPTIMIZERS[name], "share"] == pytest.approx(share)
    assert (data.groupby(["panel", "norm"])["share"].max() == 1).all()
    framed = {tuple(map(int, patch.get_xy()[::-1])) for patch in figure.axes[0].patches}
    assert framed == {(row, list(NORMS).index(OWN[name])) for row, name in enumerate(COMPARED)}


def test_a_moment_that_no_run_reached_leaves_its_maps_out(frames):
    rows = frames["muon_margin"].assign(matched=np.nan)
    with style.rc_context():
        figure, data = paper3_norms.which_margin(rows)
    assert set(data["panel"]) == {"at the last step"}
    assert len(figure.axes) == 2


def test_hybrid_curves_are_those_of_the_rows(drawn, frames):
    data = drawn["F4"][1]
    for ratio, part in data.groupby("series"):
        curves = frames["hybrid_margin"].query("final and optimizer_ratio == @ratio")["kappa_hyb_curve"].tolist()
        np.testing.assert_allclose(part["y"], np.median(curves, 0))
        assert part["x"].tolist() == list(RATIOS)
        assert part.loc[part["y"].idxmax(), "x"] == ratio


def test_the_gap_to_the_optimum_is_that_of_the_own_norm(drawn, frames):
    data = drawn["F5"][1]
    assert set(data["panel"]) == {"separable", "mnist"}
    part = data[(data["series"] == "Muon") & (data["panel"] == "mnist")].set_index("x")
    rows = frames["linear_margin"].query("optimizer_name == 'muon' and data_name == 'mnist' and step == 50")
    assert part.loc[50, "y"] == pytest.approx(1 - rows["ratio_msp"].median())


def test_base_rates_are_told_relative_to_the_default(drawn, frames):
    data = drawn["F6"][1]
    assert set(data["panel"]) == {"NMD", "Muon"}
    assert sorted(data["series"].unique()) == [0.5, 0.7, 1, 1.4, 2]
    point = data[(data["panel"] == "Muon") & (data["series"] == 2) & (data["x"] == 400)]
    rows = frames["base_rate_margin"].query("final and optimizer_name == 'muon' and vars_factor == 2")
    assert point["y"].item() == rows["kappa_msp"].median()


def test_schatten_maps_are_those_of_the_rows(drawn, frames):
    data = drawn["F7"][1].set_index(["optimizer_p", "schatten_p"])
    curves = frames["schatten_margin"].query("final and optimizer_p == 4")["kappa_schatten_curve"].tolist()
    np.testing.assert_allclose(data.loc[4, "kappa"], np.median(curves, 0))
    assert data.loc[(4, 4), "share"] == 1


def test_polar_factors_are_named_and_relative_to_the_exact_one(drawn, frames):
    data = drawn["F9"][1]
    named = {f"{kind} × {steps}, bfloat16" for kind in ("muon", "polar express") for steps in (1, 5)}
    assert set(data["place"]) == {"exact (SVD)", "exact (Gram)"} | named
    gamma = frames["polar_margin"].query("final").groupby("cell")["gamma_msp"].median()
    part = data[data["panel"] == "γ in msp / exact"].set_index("place")
    assert part.loc["exact (SVD)", "x"] == 1
    assert part.loc["muon × 5, bfloat16", "x"] == pytest.approx(gamma["cell3"] / gamma["cell0"])


def test_epsilon_zero_has_a_place_on_the_axis(drawn, frames):
    figure, data = drawn["F10"]
    assert set(data["x"]) == {0, 1e-8, 1e-4}
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "1e-08", "1e-04"]
    part = data[(data["panel"] == "κ in ℓ2") & (data["series"] == "at matched loss")].set_index("x")
    rows = frames["epsilon_margin"].query("matched == 1e-8 and optimizer_epsilon == 1e-4")
    assert part.loc[1e-4, "y"] == rows["kappa_l2"].median()


def test_the_theorems_bound_on_the_exponent_is_that_of_the_network(drawn):
    figure, data = drawn["F11"]
    bounds = [line.get_xdata()[0] for line in figure.axes[0].get_lines() if len(set(line.get_xdata())) == 1]
    assert bounds == [1 - 1 / 4]
    assert data.loc[data["panel"].str.startswith("γ")].groupby("series")["y"].max().eq(1).all()


def test_momentum_is_compared_at_the_same_step_size(drawn, frames):
    data = drawn["F12"][1]
    part = data[(data["panel"].str.startswith("γ")) & (data["place"] == "Muon, η₀ = 2")].set_index("series")
    rows = frames["momentum_margin"].query("final and optimizer_name == 'muon' and optimizer_lr == 2")
    gamma = rows.groupby("optimizer_momentum")["gamma_own"].median()
    assert part.loc["β = 0.9", "x"] == 1
    assert part.loc["β = 0", "x"] == pytest.approx(gamma[0.0] / gamma[0.9])


def test_hollow_markers_where_a_seed_is_not_aligned(frames):
    rows = frames["momentum_margin"].copy()
    astray = rows["final"] & (rows["member"] == 0) & (rows["cell"] == "cell0")
    rows.loc[astray, "kappa_own"] = 0.2
    with style.rc_context():
        _, data = {plot.id: plot for plot in paper3.PLOTS}["F12"].draw(rows)
    astray = data[data["converged"] < 1]
    assert set(astray["place"] + astray["series"]) == {"NMD, η₀ = 1β = 0"}


def test_tables_are_the_medians_of_the_rows(frames):
    table = paper3.TABLES[0].make(frames["muon_margin"]).set_index(["at", "optimizer"])
    rows = frames["muon_margin"].query("matched == 1e-8 and optimizer_name == 'adam'")
    assert table.loc[("matched loss", "Adam"), "γ ℓ∞"] == rows["gamma_linf"].median()
    assert table.loc[("matched loss", "Adam"), "log₁₀ loss"] == pytest.approx(rows["log_risk"].median() / np.log(10))
    assert table.loc[("last step", "Adam"), "fraction with κ own ≥ 0.6"] == 1
    linear = paper3.TABLES[2].make(frames["linear_margin"]).set_index(["data", "optimizer"])
    rows = frames["linear_margin"].query("final and data_name == 'mnist' and optimizer_name == 'signum'")
    assert linear.loc[("mnist", "Signum"), "in its own norm"] == rows["ratio_linf"].median()
    assert linear.loc[("mnist", "Signum"), "worst seed"] == rows["ratio_linf"].min()


def test_half_finished_sweeps_are_drawn(frames):
    fabricated.draw_cells_alone(paper3.PLOTS, frames)


def test_without_momentum_there_is_nothing_to_compare_with(frames):
    rows = frames["momentum_margin"]
    with style.rc_context():
        _, data = momentum(rows[rows["optimizer_momentum"] == 0])
    assert "γ, own norm / with momentum" not in set(data["panel"])


@pytest.mark.parametrize("what", fabricated.NOTHING)
def test_panels_without_a_finite_value_say_so(what, frames):
    fabricated.draw_without_values(paper3.PLOTS, frames, what)


def test_published_values_are_drawn_below_ours(drawn):
    """Figure 1a has four optimizers and NGD without momentum, Figure 2 has three in the hybrid norm."""
    axes = drawn["F1"][0].axes
    lines = [[line for line in panel.get_lines() if line.get_gid() == "published"] for panel in axes]
    assert [len(panel) for panel in lines] == [5, 5, 5, 3]
    muon = [line for line in lines[2] if line.get_ydata()[-1] == 1.148]
    assert len(muon) == 1
    assert len([line for line in drawn["F2"][0].axes[0].get_lines() if line.get_gid() == "published"]) == 4


def test_published_margins_stand_beside_ours_with_a_reading(frames):
    table = paper3.TABLES[1].make(frames["muon_margin"]).set_index(["number", "in"])
    ours = frames["muon_margin"].query("matched == 1e-8").groupby("optimizer_name")["gamma_msp"].median()
    row = table.loc[("Muon", "msp")]
    assert row["published [95 %]"].startswith("1.148 [")
    assert row["ours / published"] == pytest.approx(ours["muon"] / 1.148)
    assert row["reading"] == f"differs by a factor of {ours['muon'] / 1.148:.3g}"
    assert table.loc[("Signum", "ℓ∞"), "reading"] == "not comparable: depends on the width"
    ratio = table.loc[("best of its optimizers / best other", "msp")]
    assert ratio["ours / published"] == pytest.approx(
        ours["muon"] / ours.drop("muon")[["ngd", "nmd", "signum", "adam"]].max() / (1.148 / 0.2156), rel=1e-3
    )
    for key, value, reading in (("data_n", 128, "data.n=128"), ("model_depth", 3, "model.depth=3")):
        departed = frames["muon_margin"].assign(**{key: value})
        assert set(paper3.TABLES[1].make(departed)["reading"]) == {f"not comparable: {reading}"}
    others = frames["muon_margin"].assign(data_positive=frames["muon_margin"]["data_negative"])
    assert set(paper3.TABLES[1].make(others)["reading"]) == {"not comparable: other digits"}
