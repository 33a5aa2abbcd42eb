"""Handwritten digits: disjoint splits, and MNIST's own files whole or refused."""

import gzip
import struct

import numpy as np
import pytest

from statecast.data.base import SPLITS
from statecast.data.synthetic.digit_images import embedded_glyphs, mnist_glyphs, read_idx
from statecast.errors import CorruptionError, FileError


def test_splits_share_no_digit_and_hold_all_classes():
    splits = {split: embedded_glyphs(split) for split in SPLITS}
    assert sum(len(glyphs.labels) for glyphs in splits.values()) == 1797
    for glyphs in splits.values():
        assert glyphs.images.shape[1:] == (28, 28)
        assert glyphs.images.dtype == np.uint8
        assert set(glyphs.labels) == set(range(10))
        assert glyphs.images.max() == 255
    # The set has no two equal images, so sharing one would show.
    seen = [{image.tobytes() for image in glyphs.images} for glyphs in splits.values()]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]


def test_digits_have_a_margin_of_four_pixels():
    images = embedded_glyphs("test").images
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert images[:, border].max() == 0
    assert images[:, ~border].mean() > 50


def idx(array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 100), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_mnist_files_are_read_and_split(mnist):
    train, validation, test = (mnist_glyphs(mnist, split) for split in SPLITS)
    assert [len(g.images) for g in (train, validation, test)] == [95, 5, 20]
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in validation.images}
    raw = (mnist / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert test.images.tobytes() == raw
    labels = gzip.decompress((mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert test.labels.tolist() == list(labels)


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 100])
def test_a_cut_off_file_is_named(mnist, cut):
    path = mnist / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptionError, match="t10k-images"):
        mnist_glyphs(mnist, "test")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"PNG and so on")
    with pytest.raises(CorruptionError, match="not an IDX file"):
        read_idx(tmp_path / "a")
    (tmp_path / "b.gz").write_bytes(b"not gzip")
    with pytest.raises(CorruptionError, match="cut off, or not an IDX"):
        read_idx(tmp_path / "b.gz")
    with pytest.raises(FileError, match="train-images-idx3-ubyte"):
        mnist_glyphs(tmp_path, "train")
