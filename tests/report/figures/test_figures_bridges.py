import itertools

import pandas
import pytest

from src.report.figures import bridges, bridges_clusters, style


@pytest.fixture
def clusters():
    """Return final rows of B1 with radii of 0.4·√d, whatever k."""
    rows = [
        {"data_k": k, "data_d": 100, "vars_trainer": trainer, "seed": seed, "final": True, "converged": True}
        | {"attack_median": 4.0, "certificate_median": 3.0, "msp_optimum": 5.0}
        | {"stable_rank": float(k), "rescaled_margin_ratio": 0.5}
        for trainer, k, seed in itertools.product(bridges_clusters.TRAINERS, (4, 16), (0, 1))
    ]
    return pandas.DataFrame(rows)


def test_figures_are_numbered_once():
    assert len({plot.id for plot in bridges.PLOTS}) == len(bridges.PLOTS)


@pytest.mark.parametrize("plot", bridges_clusters.PLOTS, ids=lambda plot: plot.id)
def test_figures_of_clusters_have_every_trainer_and_closed_form(plot, clusters):
    with style.rc_context():
        _, data = plot.draw(clusters)
    measured = data[data["n"] > 0]
    assert set(measured["series"]) == set(bridges_clusters.TRAINERS.values())
    assert (measured["n"] == 2).all()
    if plot.id == "F1":
        radii = measured.groupby("panel")["y"].first()
        assert radii.to_dict() == pytest.approx({"certificate": 0.3, "smallest perturbation found": 0.4})
        assert data[data["series"] == "spectral optimum γ*/√d"]["y"].unique() == pytest.approx([0.5])
