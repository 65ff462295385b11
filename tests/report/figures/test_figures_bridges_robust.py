import pandas
import pytest

from src.report.figures import bridges_robust


def test_radii_are_drawn_over_the_root_of_d_below_the_ceiling():
    rows = pandas.DataFrame([
        {"experiment": "bridge_robust_training", "final": True, "converged": True, "vars_network": network, "data_k": k,
         "data_d": 100, "boundary_median": radius, "nearest_median": 7.0}
        for network, radius in (("prelu", 6.9), ("relu", 2.0)) for k in (4, 8)
    ])  # fmt: skip
    _, data = bridges_robust.ceiling(rows)
    value = data.groupby("series")["y"].first()
    assert value["normalised cubes"] == pytest.approx(0.69) and value["ReLU"] == pytest.approx(0.2)
    assert value["nearest cluster"] == pytest.approx(0.7) and value["√(1/2), the ceiling"] == pytest.approx(0.5**0.5)
    assert data.loc[data["series"] == "√(1/k)", "y"].tolist() == pytest.approx([0.5, 8**-0.5])
