"""Random numbers that depend on (seed, rng_key, index) only, not on the order of calls, the process or the device."""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor


def generator(seed: int, rng_key: str, *index: int) -> Generator:
    """Return a CPU generator whose stream depends on exactly ``(seed, rng_key, *index)``.

    >>> generator(0, "init").initial_seed() == generator(0, "init").initial_seed()
    True
    """
    digest = hashlib.sha256(repr((seed, rng_key, *index)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def normal(seed: int, rng_key: str, shape: tuple[int, ...], *index: int) -> Tensor:
    """Draw standard normal numbers of ``shape`` in float64 on the CPU, so that they do not depend on the device."""
    return torch.randn(shape, generator=generator(seed, rng_key, *index), dtype=torch.float64)


def uniform(seed: int, rng_key: str, shape: tuple[int, ...], *index: int) -> Tensor:
    """Draw uniform numbers on [0, 1) in float64 on the CPU."""
    return torch.rand(shape, generator=generator(seed, rng_key, *index), dtype=torch.float64)


def permutation(seed: int, rng_key: str, size: int, *index: int) -> Tensor:
    """Draw a permutation of ``range(size)``."""
    return torch.randperm(size, generator=generator(seed, rng_key, *index))
