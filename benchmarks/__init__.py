"""Ratios of times: batching, coordinates, the tensor network, paper 3, workers (``python -m benchmarks --help``)."""
