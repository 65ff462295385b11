"""The figures and tables of Wang et al. (2023), in the order of the report."""

from __future__ import annotations

from src.figures.style import Plot, Table

TITLE = "Wang et al., “Transformed Low-Rank Parameterization Can Help Robust Generalization” (NeurIPS 2023)"

PLOTS: tuple[Plot, ...] = ()
TABLES: tuple[Table, ...] = ()
