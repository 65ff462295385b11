"""Random numbers derived from (seed, rng_key, index): never from the order of calls, the process or the device."""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor


def generator(seed: int, rng_key: str, *index: int) -> Generator:
    """A CPU generator whose stream depends on exactly ``(seed, rng_key, *index)``.

    >>> generator(0, "init").initial_seed() == generator(0, "init").initial_seed()
    True
    """
    digest = hashlib.sha256(repr((seed, rng_key, *index)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def normal(seed: int, rng_key: str, shape: tuple[int, ...], *index: int) -> Tensor:
    """Standard normal numbers ``shape``, float64 on the CPU; the same for every dtype and device they end up on."""
    return torch.randn(shape, generator=generator(seed, rng_key, *index), dtype=torch.float64)


def uniform(seed: int, rng_key: str, shape: tuple[int, ...], *index: int) -> Tensor:
    """Uniform numbers on [0, 1), float64 on the CPU."""
    return torch.rand(shape, generator=generator(seed, rng_key, *index), dtype=torch.float64)


def permutation(seed: int, rng_key: str, size: int, *index: int) -> Tensor:
    """A permutation of ``range(size)``."""
    return torch.randperm(size, generator=generator(seed, rng_key, *index))
