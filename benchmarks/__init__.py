"""Ratios of times: batching, reduced coordinates, the tensor network, steps of paper 3, workers (``python -m benchmarks --help``)."""
