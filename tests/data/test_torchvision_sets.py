import gzip
import shutil

import numpy as np
import pytest
import torch
import torchvision.datasets
from idx_files import write_idx

from flatselect.config import NAMED_DATA_SETS
from flatselect.data import torchvision_sets
from flatselect.data.torchvision_sets import DEBIAN_FASHION_MNIST, load_torchvision_set
from flatselect.errors import DataError

needs_fashion_mnist = pytest.mark.skipif(
    not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


def write_set(folder, n=6, suffix="", prefix="train", n_labels=None):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = (np.arange(n if n_labels is None else n_labels) % 10).astype(np.uint8)
    write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    return images, labels


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", [".", "raw", "KMNIST/raw"])
@pytest.mark.parametrize(("part", "prefix"), [("train", "train"), ("test", "t10k")])
def test_idx_files_are_found_where_people_put_them(tmp_path, place, suffix, part, prefix):
    images, labels = write_set(tmp_path / place, suffix=suffix, prefix=prefix)
    dataset = load_torchvision_set("KMNIST", part, str(tmp_path), download=False)
    np.testing.assert_array_equal(dataset.pixels[:, 0].numpy(), images)
    assert dataset.labels.tolist() == labels.tolist()
    assert dataset.name == "KMNIST"
    assert dataset.class_names == tuple(torchvision.datasets.KMNIST.classes)


@pytest.mark.parametrize("name", ["fashionmnist", "FashionMNIST", "fashion_mnist", "Fashion-MNIST"])
def test_names_are_read_however_they_are_written(tmp_path, name):
    write_set(tmp_path)
    dataset = load_torchvision_set(name, "train", str(tmp_path), download=False)
    assert dataset.name == "FashionMNIST"
    assert dataset.class_names == tuple(torchvision.datasets.FashionMNIST.classes)


@needs_fashion_mnist
def test_fashion_mnist_is_what_torchvision_reads(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    for part, n in (("train", 60_000), ("test", 10_000)):
        ours = load_torchvision_set("FashionMNIST", part, None, download=False)
        theirs = torchvision.datasets.FashionMNIST(tmp_path, train=part == "train")
        assert len(ours) == n
        assert torch.equal(ours.pixels[:, 0], theirs.data)
        assert torch.equal(ours.labels, theirs.targets)


def test_a_missing_idx_set_says_where_it_was_sought_and_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as caught:
        load_torchvision_set("FashionMNIST", "test", str(tmp_path), download=False)
    message = str(caught.value)
    for part in (
        "t10k-images-idx3-ubyte[.gz]",
        f"in {tmp_path}, {tmp_path}/FashionMNIST/raw, {tmp_path}/raw",
        "--set data.download=true",
        "dataset-fashion-mnist",
        "--set data.root=FOLDER",
    ):
        assert part in message
    with pytest.raises(DataError) as caught:
        load_torchvision_set("MNIST", "train", str(tmp_path), download=False)
    assert "dataset-fashion-mnist" not in str(caught.value)


def test_half_a_set_is_no_set(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="MNIST not found"):
        load_torchvision_set("MNIST", "train", str(tmp_path), download=False)


@pytest.mark.parametrize("name", ["CIFAR10", "cifar-100", "svhn"])
def test_a_missing_set_of_torchvisions_says_how_to_get_it(tmp_path, name):
    with pytest.raises(DataError, match=rf"not found or damaged: looked in {tmp_path}.*data\.download=true"):
        load_torchvision_set(name, "train", str(tmp_path), download=False)


def test_a_damaged_set_of_torchvisions_is_not_unpickled(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(DataError, match="damaged"):
        load_torchvision_set("CIFAR10", "train", str(tmp_path), download=False)


def test_a_failed_download_names_the_network(tmp_path):
    # A folder that cannot be made stands for any failure: nothing is fetched here.
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"MNIST cannot be downloaded to .*Check the network"):
        load_torchvision_set("MNIST", "train", str(tmp_path / "file"), download=True)


def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(DataError, match=r"set 'digits' is not known; expected one of FashionMNIST, .*SVHN"):
        load_torchvision_set("digits", "train", None, download=False)


def test_every_name_a_study_may_give_is_known_here():
    assert {*torchvision_sets._SETS, "digits"} == {*NAMED_DATA_SETS}


def test_files_that_disagree_are_refused(tmp_path):
    write_set(tmp_path, n=6, n_labels=5)
    with pytest.raises(DataError, match=r"6 images in .*, 5 labels in"):
        load_torchvision_set("MNIST", "train", str(tmp_path), download=False)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.full(6, 26, np.uint8))
    with pytest.raises(DataError, match=r"found label 26, expected labels 0 to 9; are these MNIST's files\?"):
        load_torchvision_set("MNIST", "train", str(tmp_path), download=False)
    write_set(tmp_path, n=0)
    with pytest.raises(DataError, match="found no image"):
        load_torchvision_set("MNIST", "train", str(tmp_path), download=False)
