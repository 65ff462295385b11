"""Figures of networks trained by Muon on the clusters of paper 1 (B1)."""

from src.report.figures.style import Plot

PLOTS: tuple[Plot, ...] = ()
