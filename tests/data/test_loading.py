import numpy as np
import pytest
import torch
from PIL import Image

from flatselect.config import DataSection
from flatselect.data import FolderDataset, gather_images, load_audit_set, load_training_set
from flatselect.data.digits import load_digits
from flatselect.data.torchvision_sets import DEBIAN_FASHION_MNIST
from flatselect.errors import DataError

RNG = np.random.default_rng(0)
needs_fashion_mnist = pytest.mark.skipif(
    not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


def save_arrays(path, n=30, shape=(8, 8, 3), n_classes=3, dtype=np.uint8):
    images = RNG.integers(0, 256, (n, *shape)).astype(dtype)
    np.savez(path, images=images, labels=np.arange(n) % n_classes)
    return f"arrays:{path}"


def save_folder(root, classes=("cat", "dog"), n=4, size=(8, 8), mode="RGB"):
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")
    return f"folder:{root}"


def all_images(dataset):
    return gather_images(dataset, "cpu")[0]


def test_digits_train_and_audit_are_the_two_parts():
    config = DataSection(train="digits", audit="digits")
    training_set = load_training_set(config, seed=0)
    audit_set = load_audit_set(config, training_set, seed=0)
    assert (len(training_set), len(audit_set)) == (1297, 500)
    assert (audit_set.mean, audit_set.std) == (training_set.mean, training_set.std)
    raw = load_digits("train").pixels.double() / 255
    assert training_set.mean == pytest.approx((raw.mean().item(),))
    assert training_set.std == pytest.approx((raw.std(correction=0).item(),))
    assert all_images(training_set).mean().abs() < 1e-5
    assert audit_set.name == training_set.name == "digits"


@needs_fashion_mnist
def test_fashion_mnist_drawn_down_and_audited_on_its_test_part():
    config = DataSection(train="FashionMNIST", audit="FashionMNIST", size=1500, audit_size=2000)
    training_set = load_training_set(config, seed=1)
    audit_set = load_audit_set(config, training_set, seed=1)
    assert torch.bincount(training_set.labels).tolist() == [150] * 10
    assert torch.bincount(audit_set.labels).tolist() == [200] * 10
    assert all_images(training_set).std() == pytest.approx(1, abs=1e-3)


def test_size_is_drawn_by_class_and_by_seed():
    config = DataSection(train="digits", size=100)
    first, same, other = (load_training_set(config, seed) for seed in (1, 1, 2))
    assert torch.bincount(first.labels).min() >= 9
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_constants_are_of_the_images_drawn(tmp_path):
    spec = save_arrays(tmp_path / "a.npz")
    whole, part = (load_training_set(DataSection(train=spec, size=size), seed=0) for size in (None, 6))
    assert whole.mean != part.mean
    given = load_training_set(DataSection(train=spec, mean=[0.5], std=[0.1, 0.2, 0.25]), seed=0)
    assert given.mean == (0.5, 0.5, 0.5)
    assert given.std == (0.1, 0.2, 0.25)


def test_images_are_resized_before_they_are_normalised(tmp_path):
    config = DataSection(train="digits", audit="digits", image_size=16)
    training_set = load_training_set(config, seed=0)
    assert training_set.input_shape == load_audit_set(config, training_set, 0).input_shape == (1, 16, 16)
    assert all_images(training_set).std() == pytest.approx(1, abs=1e-4)


def test_floats_stay_as_they_are(tmp_path):
    spec = save_arrays(tmp_path / "a.npz", dtype=np.float64)
    training_set = load_training_set(DataSection(train=spec), seed=0)
    assert training_set.mean is None
    assert all_images(training_set).max() > 200
    audit = DataSection(train=spec, audit=save_arrays(tmp_path / "b.npz", dtype=np.float32))
    assert all_images(load_audit_set(audit, training_set, 0)).max() > 200


def test_folders_are_normalised_and_matched_by_class_name(tmp_path):
    config = DataSection(
        train=save_folder(tmp_path / "train", classes=("ant", "cat", "dog"), n=6),
        audit=save_folder(tmp_path / "audit", classes=("cat", "dog"), mode="L"),
    )
    training_set = load_training_set(config, seed=0)
    audit_set = load_audit_set(config, training_set, seed=0)
    assert isinstance(audit_set, FolderDataset)
    images = all_images(training_set)
    assert images.mean((0, 2, 3)).abs().max() < 1e-5
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert audit_set.class_names == ("ant", "cat", "dog")
    assert audit_set.labels.tolist() == [1] * 4 + [2] * 4
    assert audit_set.input_shape == (3, 8, 8)  # grey images beside colour ones
    assert audit_set.mean == training_set.mean


def test_arrays_are_matched_with_other_sets_by_number(tmp_path):
    config = DataSection(train="digits", audit=save_arrays(tmp_path / "a.npz", shape=(8, 8), n_classes=7))
    training_set = load_training_set(config, seed=0)
    audit_set = load_audit_set(config, training_set, seed=0)
    assert audit_set.class_names == training_set.class_names
    assert audit_set.labels.max() == 6


def write_numbers(path, images, labels):
    np.savez(path, images=images, labels=np.array(labels))
    return f"arrays:{path}"


def test_training_sets_that_do_not_fit_are_refused(tmp_path):
    images = RNG.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    holes = write_numbers(tmp_path / "holes.npz", images, [0, 1, 3, 3])
    one = write_numbers(tmp_path / "one.npz", images, [0, 0, 0, 0])
    floats = save_arrays(tmp_path / "floats.npz", dtype=np.float32)
    for section, message in (
        ({"train": holes}, "no image has label 2, yet labels go up to 3"),
        ({"train": one}, "all images are of one class"),
        ({"train": save_folder(tmp_path / "f", classes=("cat",))}, "all images are of one class"),
        ({"train": "digits", "size": 1298}, "data.size = 1298: digits has 1297 images"),
        ({"train": "digits", "size": 9}, "data.size = 9: digits has 10 classes"),
        ({"train": "digits", "mean": [0.1, 0.2], "std": [1.0]}, r"data\.mean has 2 values; expected 1: "),
        ({"train": floats, "mean": [0.1], "std": [1.0]}, "data.mean is given, but .* holds floats"),
        ({"train": f"folder:{tmp_path}/missing"}, "data.train = 'folder:.*missing': .*no such folder"),
    ):
        with pytest.raises(DataError, match=message):
            load_training_set(DataSection(**section), seed=0)


def test_audit_sets_that_do_not_fit_are_refused(tmp_path):
    folder = save_folder(tmp_path / "train")
    more = save_folder(tmp_path / "more", classes=("cat", "dog", "elk"))
    large = save_folder(tmp_path / "large", size=(9, 9))
    colour = save_arrays(tmp_path / "colour.npz", n_classes=2)
    floats = save_arrays(tmp_path / "floats.npz", dtype=np.float32, n_classes=2)
    many = save_arrays(tmp_path / "many.npz", shape=(8, 8), n_classes=11)
    for train, audit, message in (
        ("digits", None, "no audit set is given"),
        (folder, more, "classes that training set .* has not: elk; expected among cat, dog"),
        (folder, large, "are 3×9×9, training images 3×8×8 .*data.image_size"),
        ("digits", colour, "are 3×8×8, training images 1×8×8"),
        ("digits", many, "labels up to 10, training set digits up to 9"),
        (folder, floats, "are floats, taken as they are, training images uint8"),
        (floats, colour, "are uint8, training images floats"),
        (folder, f"folder:{tmp_path}/missing", "data.audit = 'folder:.*missing': .*no such folder"),
    ):
        config = DataSection(train=train, audit=audit)
        with pytest.raises(DataError, match=message):
            load_audit_set(config, load_training_set(config, seed=0), seed=0)
    config = DataSection(train="digits", audit="digits", audit_size=501)
    with pytest.raises(DataError, match=r"data\.audit_size = 501: digits has 500 images"):
        load_audit_set(config, load_training_set(config, seed=0), seed=0)
