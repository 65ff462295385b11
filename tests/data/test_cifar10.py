"""The CIFAR-10 loader, on a small archive in the original format."""

import builtins
import hashlib
import io
import sys
import tarfile
import types

import numpy as np
import pytest
import torch

from src.data import cifar10
from src.errors import ConfigError

PER_FILE = 20


def records(seed):
    """Return 20 records: labels 0, 1, …, 9, 0, …, and random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
    return np.hstack([np.arange(PER_FILE, dtype=np.uint8)[:, None] % 10, pixels])


def archive_bytes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        files = {f"data_batch_{i}.bin": records(i).tobytes() for i in (2, 1, 3, 5, 4)}
        files |= {"test_batch.bin": records(0).tobytes(), "batches.meta.txt": b"airplane\n"}
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "FOLDER", tmp_path)
    monkeypatch.setattr(cifar10, "read", cifar10.read.__wrapped__)
    (tmp_path / "cifar10").mkdir()
    return tmp_path / "cifar10"


@pytest.fixture
def archive(folder, monkeypatch):
    content = archive_bytes()
    (folder / cifar10.ARCHIVE).write_bytes(content)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())


def test_records_are_a_label_and_three_channels(archive):
    train, test = cifar10.read()
    assert train.pixels.shape == (5 * PER_FILE, 3, 32, 32) and test.pixels.shape == (PER_FILE, 3, 32, 32)
    expected = np.concatenate([records(i) for i in range(1, 6)])
    assert train.labels.tolist() == expected[:, 0].tolist()
    # red pixels first, row by row; then green, then blue
    assert train.pixels[7, 1, 2, 5] == expected[7, 1 + 1024 + 2 * 32 + 5]


def test_two_classes(archive):
    task = cifar10.build([0, 1], n=6, n_test=None)
    assert task.x.shape == (2, 6, 768) and task.x_test.shape == (4, 768)
    assert set(cifar10.read()[0].labels[task.facts["index"]].flatten().tolist()) <= {0, 1}
    assert torch.equal(task.y, 2.0 * cifar10.read()[0].labels[task.facts["index"]] - 1)
    matrix = cifar10.build([0], n=6, n_test=2, pool=False, layout="matrix", scale="pixels")
    assert matrix.x.shape == (1, 6, 96, 32)
    pixels = cifar10.read()[0].pixels[matrix.facts["index"]]
    torch.testing.assert_close(matrix.x[..., 32:64, :], pixels[:, :, 1].double() / 255)


def test_a_missing_archive_without_pooch(folder, monkeypatch):
    real_import = builtins.__import__

    def without_pooch(name, *args, **kwargs):
        if name == "pooch":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pooch)
    with pytest.raises(
        ConfigError, match=r"data\.name=cifar10: is not part of the repository; pip install .*, or download"
    ):
        cifar10.build([0])


def test_downloaded_once_and_checked(folder, monkeypatch):
    content, calls = archive_bytes(), []
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash))
        (path / fname).write_bytes(content)

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    cifar10.build([0], n=4, n_test=None)
    cifar10.build([0], n=4, n_test=None)
    assert calls == [(cifar10.URL, f"sha256:{cifar10.SHA256}")]


def test_without_network_the_error_is_one_line(folder, monkeypatch):
    def retrieve(*args, **kwargs):
        raise ConnectionError("unreachable")

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    with pytest.raises(ConfigError, match=r"download failed \(unreachable\); download"):
        cifar10.build([0])


def test_a_damaged_archive_is_rejected(folder):
    (folder / cifar10.ARCHIVE).write_bytes(archive_bytes())
    with pytest.raises(ConfigError, match="is damaged: sha256"):
        cifar10.build([0])
