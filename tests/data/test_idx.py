import struct

import numpy as np
import pytest
from idx_files import write_idx

from flatselect.data.idx import read_idx
from flatselect.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_plain_and_gzipped_files_are_read(tmp_path, name):
    read = read_idx(write_idx(tmp_path / name, IMAGES), 3)
    np.testing.assert_array_equal(read.numpy(), IMAGES)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("length", [0, 3, 9, 16, 100])
def test_a_file_cut_short_is_named(tmp_path, name, length):
    path = write_idx(tmp_path / name, IMAGES)
    content = path.read_bytes()
    assert length < len(content)
    path.write_bytes(content[:length])
    with pytest.raises(DataError, match=r"images") as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_what_was_found_is_said(tmp_path):
    path = write_idx(tmp_path / "images", IMAGES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="header says 7 × 5 × 4 = 140 bytes, found 100"):
        read_idx(path, 3)
    path.write_bytes(path.read_bytes() + bytes(41))
    with pytest.raises(DataError, match="140 bytes, found more"):
        read_idx(path, 3)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"starts with 00 00 0d 03, expected 00 00 08 03"):
        read_idx(write_idx(tmp_path / "floats", IMAGES, dtype_code=0x0D), 3)
    with pytest.raises(DataError, match=r"starts with 00 00 08 03, expected 00 00 08 01"):
        read_idx(write_idx(tmp_path / "images", IMAGES), 1)
    plain = tmp_path / "not-gzip.gz"
    plain.write_bytes(b"plain text")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(plain, 3)


def test_damaged_compression_is_refused(tmp_path):
    path = write_idx(tmp_path / "images.gz", IMAGES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_idx(path, 3)


def test_a_header_of_absurd_size_takes_no_memory(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(10))
    with pytest.raises(DataError, match="found 10"):
        read_idx(path, 3)
