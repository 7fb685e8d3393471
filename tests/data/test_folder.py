import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from flatselect.data.dataset import gather_images
from flatselect.data.folder import load_folder
from flatselect.errors import DataError

RNG = np.random.default_rng(0)


def write_images(root, n=5, shape=(12, 10, 3), classes=("cat", "dog")):
    """PNG files; their pixels in the order a folder is read."""
    pixels = []
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels.append(RNG.integers(0, 256, shape, dtype=np.uint8))
            Image.fromarray(pixels[-1]).save(root / name / f"{i}.png")
    return np.stack(pixels)


def load(root, image_size=None, loader_workers=0, **options):
    return load_folder(root, image_size=image_size, loader_workers=loader_workers, **options)


@pytest.mark.parametrize("workers", [0, 1])
def test_images_are_decoded_as_they_were_written(tmp_path, workers):
    pixels = write_images(tmp_path)
    dataset = load(tmp_path, loader_workers=workers)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0] * 5 + [1] * 5
    assert dataset.input_shape == (3, 12, 10)
    batches = list(dataset.batches(4, "cpu"))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    images, labels = gather_images(dataset, "cpu")
    assert torch.equal(images, torch.cat([images for images, _ in batches]))
    assert torch.equal(labels, dataset.labels)
    np.testing.assert_allclose(images.numpy(), pixels.transpose(0, 3, 1, 2) / 255, rtol=1e-6)


def test_passes_are_functions_of_their_seed_alone(tmp_path):
    write_images(tmp_path, n=8, shape=(16, 16))
    dataset = load(tmp_path)
    state = torch.get_rng_state()
    first = list(dataset.batches(3, "cpu", shuffle_seed=1, augmentation="flip+shift"))
    other = list(dataset.batches(3, "cpu", shuffle_seed=2, augmentation="flip+shift"))
    with_workers = load(tmp_path, loader_workers=1).batches(3, "cpu", shuffle_seed=1, augmentation="flip+shift")
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(labels) for _, labels in first] == [3, 3, 3, 3, 4]
    for one, two in zip(first, with_workers, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
    assert any(not torch.equal(one[0], two[0]) for one, two in zip(first, other, strict=True))


def test_grey_images_have_one_channel_and_mixed_ones_three(tmp_path):
    pixels = write_images(tmp_path, shape=(6, 6))
    assert load(tmp_path).input_shape == (1, 6, 6)
    assert load(tmp_path, n_channels=3).input_shape == (3, 6, 6)
    images, _ = next(load(tmp_path, n_channels=3).batches(10, "cpu"))
    np.testing.assert_allclose(images.numpy(), np.repeat(pixels[:, None], 3, 1) / 255, rtol=1e-6)
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "dog" / "colour.png")
    assert load(tmp_path).input_shape == (3, 6, 6)


def test_images_are_resized(tmp_path):
    pixels = write_images(tmp_path, shape=(9, 14, 3))
    dataset = load(tmp_path, image_size=7)
    assert dataset.input_shape == (3, 7, 7)
    images, _ = next(dataset.batches(10, "cpu"))
    expected = [np.array(Image.fromarray(image).resize((7, 7), Image.Resampling.BILINEAR)) for image in pixels]
    np.testing.assert_allclose(images.numpy(), np.stack(expected).transpose(0, 3, 1, 2) / 255, rtol=1e-6)


def test_subset_fingerprint_and_pickle(tmp_path):
    write_images(tmp_path)
    dataset = load(tmp_path)
    subset = dataset.subset(torch.tensor([6, 0]))
    assert subset.labels.tolist() == [1, 0]
    assert torch.equal(next(subset.batches(2, "cpu"))[0], next(dataset.batches(10, "cpu"))[0][[6, 0]])
    assert subset.fingerprint != dataset.fingerprint == load(tmp_path).fingerprint
    loaded = pickle.loads(pickle.dumps(subset))
    assert loaded.fingerprint == subset.fingerprint
    assert torch.equal(next(loaded.batches(2, "cpu"))[0], next(subset.batches(2, "cpu"))[0])


def test_other_files_are_left_out(tmp_path):
    write_images(tmp_path)
    (tmp_path / "README.txt").write_text("two classes")
    (tmp_path / "cat" / "notes.txt").write_text("tabby")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "cat" / "more").mkdir()
    Image.new("RGB", (10, 12)).save(tmp_path / "cat" / "more" / "deeper.JPG")
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset) == 11


def test_images_of_several_sizes_need_one_size(tmp_path):
    write_images(tmp_path)
    Image.new("RGB", (5, 8)).save(tmp_path / "dog" / "small.png")
    with pytest.raises(DataError, match=r"0.png is 12×10, dog/small.png 8×5.*data.image_size"):
        load(tmp_path)
    assert len(load(tmp_path, image_size=10)) == 11


def test_missing_folders_and_images(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no folders"):
        load(tmp_path)
    write_images(tmp_path)
    (tmp_path / "elk").mkdir()
    with pytest.raises(DataError, match=r"elk: holds no images \(\.bmp.*put this class's images there"):
        load(tmp_path)


def test_an_unreadable_image_is_named_at_once(tmp_path):
    write_images(tmp_path)
    (tmp_path / "dog" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"dog/broken.png: cannot be read as an image.*replace or remove"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "workers"), [("png", 0), ("png", 1), ("jpg", 0), ("bmp", 0), ("webp", 0), ("tif", 0), ("gif", 0)]
)
def test_an_image_cut_short_is_named_when_it_is_decoded(tmp_path, suffix, workers):
    write_images(tmp_path)
    path = tmp_path / "dog" / f"3x.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=f"dog/3x.{suffix}: cannot be read as an image") as caught:
        list(load(tmp_path, loader_workers=workers).batches(4, "cpu"))
    assert "Traceback" not in str(caught.value)


def test_deep_images_are_refused(tmp_path):
    write_images(tmp_path)
    Image.fromarray(np.full((12, 10), 40_000, np.uint16)).save(tmp_path / "dog" / "deep.png")
    with pytest.raises(DataError, match=r"deep.png: has more than 8 bits a channel \(mode I;16\)"):
        load(tmp_path)


def test_without_labels_all_images_below_the_folder_are_of_one_class(tmp_path):
    pixels = write_images(tmp_path, classes=("a", "b"))
    Image.fromarray(pixels[0]).save(tmp_path / "0.png")
    with pytest.raises(DataError, match="expected one folder of images"):
        load(tmp_path / "a")
    dataset = load(tmp_path, labelled=False)
    assert (len(dataset), dataset.n_classes, dataset.labels.sum()) == (11, 1, 0)
    images, _ = gather_images(dataset, "cpu")
    np.testing.assert_allclose(images[0].numpy(), pixels[0].transpose(2, 0, 1) / 255, rtol=1e-6)
    assert len(load(tmp_path / "a", labelled=False)) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load(tmp_path / "empty", labelled=False)
