"""Ratios of times: batching, reduced coordinates, the tensor network, workers (``python -m benchmarks --help``)."""
