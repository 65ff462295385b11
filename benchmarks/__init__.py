"""Ratios of times: how much batching, reduced coordinates and workers save (``python -m benchmarks --help``)."""
