"""Figures and tables of what the papers say together, in the order of the report."""

from src.report.figures import bridges_clusters, bridges_robust, bridges_sign
from src.report.figures.style import Table, in_order

TITLE = "What the three papers say together: optimizers and the robustness of networks"
PLOTS = in_order(bridges_clusters.PLOTS + bridges_sign.PLOTS + bridges_robust.PLOTS)
TABLES: tuple[Table, ...] = ()
