"""The Fashion-MNIST loader, on small files in the original format, and on the original files where available."""

import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from src.data import fashion_mnist
from src.errors import ConfigError


def write(folder, name, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.tobytes()
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for name, array in (("images-idx3", pixels), ("labels-idx1", np.arange(count, dtype=np.uint8) % 10)):
            digest = write(tmp_path, f"{part}-{name}-ubyte", array)
            monkeypatch.setitem(fashion_mnist.SHA256, f"{part}-{name}-ubyte", digest)
    return tmp_path


def test_two_classes_from_any_folder(folder):
    task = fashion_mnist.build([0, 1], n=6, n_test=None, folder=str(folder))
    assert task.x.shape == (2, 6, 28, 28) and task.x_test.shape == (4, 28, 28)
    labels = fashion_mnist.read(folder, "train").labels[task.facts["index"]]
    assert set(labels.flatten().tolist()) == {6, 8}
    assert ((labels == 8) == (task.y == 1)).all()


def test_a_missing_or_damaged_file_is_named(folder):
    with pytest.raises(ConfigError, match=r"needs train-images-idx3-ubyte\.gz"):
        fashion_mnist.build([0], folder=str(folder / "nowhere"))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ConfigError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        fashion_mnist.build([0], n=2, n_test=None, folder=str(folder))


@pytest.mark.skipif("FASHION_MNIST" not in os.environ, reason="FASHION_MNIST names no folder of the real files")
def test_the_original_files():
    task = fashion_mnist.build([0], n=12000, n_test=None, folder=os.environ["FASHION_MNIST"])
    assert task.x.shape == (12000, 28, 28) and len(task.y_test) == 2000
