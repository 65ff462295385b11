"""Figures and tables of Gronich & Vardi (2026), in the order of the report."""

from __future__ import annotations

from src.report.figures import paper3_linear, paper3_norms, paper3_published, paper3_training, paper3_variants
from src.report.figures.style import in_order

TITLE = "Gronich & Vardi, “The Implicit Bias of Adam and Muon on Smooth Homogeneous Neural Networks” (ICML 2026)"

PLOTS = in_order(paper3_training.PLOTS + paper3_norms.PLOTS + paper3_linear.PLOTS + paper3_variants.PLOTS)
TABLES = paper3_norms.TABLES + paper3_published.TABLES + paper3_linear.TABLES
