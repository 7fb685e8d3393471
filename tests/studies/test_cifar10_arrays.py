"""CIFAR-10's pictures become arrays; noise of their shape stands for them, as they are too large to come along."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flatselect.data.arrays import load_arrays

SCRIPT = Path(__file__).parents[2] / "studies" / "cifar10_arrays.py"


def test_each_row_of_a_picture_becomes_an_image(tmp_path):
    read_part = runpy.run_path(str(SCRIPT))["read_part"]
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels.reshape(7, 1024, 3)).save(tmp_path / "test_batch.png")
    (tmp_path / "test_lables.json").write_text(json.dumps([3, 8, 8, 0, 6, 6, 1]))
    images, labels = read_part(tmp_path, "test")
    np.testing.assert_array_equal(images, pixels)
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    read = load_arrays(tmp_path / "test.npz")
    assert read.input_shape == (3, 32, 32)
    assert read.labels.tolist() == [3, 8, 8, 0, 6, 6, 1]
    assert read.pixels[2, :, 5, 30].tolist() == pixels[2, 5, 30].tolist()


def test_other_pictures_are_refused(tmp_path, monkeypatch):
    for number in range(1, 6):
        Image.fromarray(np.zeros((2, 1024, 3), dtype=np.uint8)).save(tmp_path / f"data_batch_{number}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps([0] * 10))
    monkeypatch.setattr(sys, "argv", ["cifar10_arrays.py", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="not CIFAR-10"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
