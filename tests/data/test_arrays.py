import numpy as np
import pytest
import torch

from flatselect.data.arrays import load_arrays
from flatselect.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def save(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
    ],
    ids=["NHW", "NHW1", "N1HW", "NCHW", "NHWC"],
)
@pytest.mark.parametrize("save_as", [np.savez, np.savez_compressed])
def test_every_layout_is_read(tmp_path, stored, expected, save_as):
    save_as(tmp_path / "set.npz", images=stored, labels=LABELS)
    dataset = load_arrays(tmp_path / "set.npz")
    np.testing.assert_array_equal(dataset.pixels.numpy(), expected)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.input_shape == expected.shape[1:]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32_and_are_taken_as_they_are(tmp_path, dtype):
    images = RNG.normal(size=(6, 5, 4)).astype(dtype)
    dataset = load_arrays(save(tmp_path, images=images, labels=LABELS))
    np.testing.assert_array_equal(dataset.images("cpu").numpy()[:, 0], images.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_may_be_any_integers(tmp_path, dtype):
    assert load_arrays(save(tmp_path, images=GREY, labels=LABELS.astype(dtype))).labels.tolist() == LABELS.tolist()


NAN = GREY.astype(np.float32)
NAN[4, 2, 2] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY}, "no `labels` among images"),
        ({"x": GREY, "y": LABELS}, "no `images` among x, y"),
        ({}, "no `images` among nothing"),
        ({"images": GREY, "labels": LABELS[:5]}, "6 images but 5 labels"),
        ({"images": GREY[0], "labels": LABELS}, "`images` has shape 5×4"),
        ({"images": np.zeros((6, 2, 5, 4), np.uint8), "labels": LABELS}, "shape 6×2×5×4; expected .* C = 1 or 3"),
        ({"images": np.uint8(3), "labels": LABELS}, "a single value"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, "holds nothing"),
        ({"images": GREY.astype(np.int64), "labels": LABELS}, "`images` is int64; expected uint8"),
        ({"images": NAN, "labels": LABELS}, "NaN or infinity, first image 4"),
        ({"images": np.full((6, 5, 4), 1e300), "labels": LABELS}, "6 images hold NaN or infinity"),
        ({"images": GREY, "labels": LABELS / 2}, "`labels` is float64 of shape 6"),
        ({"images": GREY, "labels": np.eye(6, dtype=int)}, "`labels` is int64 of shape 6×6"),
        ({"images": GREY, "labels": LABELS - 1}, "`labels` holds -1"),
        ({"images": GREY, "labels": LABELS + 10**12}, "`labels` holds 1000000000002"),
        ({"images": GREY, "labels": np.array([{}] * 6)}, "cannot be read .*allow_pickle=False"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_arrays(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_archives_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_arrays(tmp_path / "missing.npz")
    text = tmp_path / "text.npz"
    text.write_text("images")
    empty = tmp_path / "empty.npz"
    empty.touch()
    lone = tmp_path / "lone.npy"
    np.save(lone, GREY)
    short = save(tmp_path, images=GREY, labels=LABELS)
    short.write_bytes(short.read_bytes()[:200])
    for path in (text, empty, lone, short, tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_arrays(path)


def test_damaged_content_is_refused(tmp_path):
    path = save(tmp_path, images=GREY, labels=LABELS)
    content = bytearray(path.read_bytes())
    position = content.index(GREY.tobytes()[:16])
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        load_arrays(path)


def test_labels_are_not_looked_at_where_there_need_not_be_any(tmp_path):
    path = save(tmp_path, images=GREY)
    with pytest.raises(DataError, match="no `labels` among images"):
        load_arrays(path)
    assert load_arrays(path, labelled=False).labels.tolist() == [0] * 6
    path = save(tmp_path, images=GREY, labels=np.array(["cat"] * 3))
    assert torch.equal(load_arrays(path, labelled=False).pixels, torch.from_numpy(GREY[:, None]))
    with pytest.raises(DataError, match="no `images` among labels"):
        load_arrays(save(tmp_path, labels=LABELS), labelled=False)
