"""Figures and tables of Wang et al. (2023), in the order of the report."""

from __future__ import annotations

from src.report.figures import paper2_gap, paper2_rank, paper2_robustness, paper2_training
from src.report.figures.style import in_order

TITLE = "Wang et al., “Transformed Low-Rank Parameterization Can Help Robust Generalization” (NeurIPS 2023)"

PLOTS = in_order(paper2_gap.PLOTS + paper2_training.PLOTS + paper2_rank.PLOTS + paper2_robustness.PLOTS)
TABLES = paper2_robustness.TABLES + paper2_gap.TABLES
