import pickle

import pytest
import torch

from flatselect.data import TensorDataset, gather_images
from flatselect.data.digits import load_digits

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")),
]


def make_dataset(n=33, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (n, 3, 16, 16), generator=generator).to(dtype)
    return TensorDataset(pixels, torch.arange(n) % 3, ("a", "b", "c"), "made", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def collect(batches):
    images, labels = zip(*batches, strict=True)
    return torch.cat(images).cpu(), torch.cat(labels).cpu()


@pytest.mark.parametrize("device", DEVICES)
def test_evaluation_order_holds_every_image_once(device):
    dataset = make_dataset()
    batches = list(dataset.batches(8, device))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 1]
    assert all(images.device.type == device and images.dtype == torch.float32 for images, _ in batches)
    images, labels = collect(batches)
    assert torch.equal(labels, dataset.labels)
    torch.testing.assert_close(images, dataset.images("cpu"))


@pytest.mark.parametrize("device", DEVICES)
def test_all_images_of_a_set_as_one(device):
    dataset = make_dataset()
    images, labels = gather_images(dataset.subset(torch.arange(700) % len(dataset)), device)
    assert (images.device.type, labels.device.type) == (device, device)
    assert torch.equal(images.cpu(), dataset.images("cpu")[torch.arange(700) % len(dataset)])
    assert torch.equal(labels.cpu(), dataset.labels[torch.arange(700) % len(dataset)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augmentation", ["none", "flip+shift"])
def test_a_pass_is_a_function_of_its_seed_alone(device, augmentation):
    dataset = make_dataset()
    state = torch.get_rng_state()
    first = collect(dataset.batches(8, device, shuffle_seed=5, augmentation=augmentation))
    collect(dataset.batches(4, device, shuffle_seed=6, augmentation=augmentation))
    next(dataset.batches(4, device, shuffle_seed=7))
    torch.rand(3)
    again = collect(make_dataset().batches(8, device, shuffle_seed=5, augmentation=augmentation))
    other = collect(dataset.batches(8, device, shuffle_seed=6, augmentation=augmentation))
    # Not even the batch size matters.
    regrouped = collect(dataset.batches(5, device, shuffle_seed=5, augmentation=augmentation))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, regrouped, strict=True))
    assert not torch.equal(first[1], other[1])
    torch.set_rng_state(state)
    collect(dataset.batches(8, device, shuffle_seed=1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_batches_are_the_same_on_the_gpu():
    on_cpu = collect(make_dataset().batches(8, "cpu", shuffle_seed=5, augmentation="flip+shift"))
    on_gpu = collect(make_dataset().batches(8, "cuda", shuffle_seed=5, augmentation="flip+shift"))
    torch.testing.assert_close(on_cpu, on_gpu, rtol=1e-6, atol=1e-6)


def test_shuffled_images_keep_their_labels():
    dataset = load_digits("train")
    images, labels = collect(dataset.batches(100, "cpu", shuffle_seed=9))
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(9))
    assert torch.equal(labels, dataset.labels[order])
    assert torch.equal(images, dataset.images("cpu")[order])


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(33, 8, [8, 8, 8, 9]), (34, 8, [8, 8, 8, 8, 2]), (1, 8, [1]), (3, 1, [1, 1, 1]), (8, 8, [8])],
)
def test_training_sees_no_batch_of_one_image(n, batch_size, sizes):
    batches = make_dataset(n).batches(batch_size, "cpu", shuffle_seed=0)
    assert [len(labels) for _, labels in batches] == sizes


def test_augmentation_in_evaluation_order_moves_images_and_nothing_else():
    dataset = make_dataset()
    images, labels = collect(dataset.batches(8, "cpu", augmentation="shift"))
    assert torch.equal(labels, dataset.labels)
    assert not torch.equal(images, dataset.images("cpu"))


def test_a_subset_is_a_copy_with_the_same_classes_and_normalisation():
    dataset = make_dataset()
    subset = dataset.subset(torch.tensor([4, 1]))
    assert len(subset) == 2
    assert subset.labels.tolist() == [1, 1]
    assert (subset.n_classes, subset.name, subset.mean, subset.std) == (3, "made", dataset.mean, dataset.std)
    assert torch.equal(subset.images("cpu"), dataset.images("cpu")[[4, 1]])
    assert subset.pixels.untyped_storage().nbytes() == 2 * 3 * 16 * 16


def test_a_fingerprint_knows_every_part():
    dataset = make_dataset()
    assert dataset.fingerprint == make_dataset().fingerprint
    assert len(dataset.fingerprint) == 64
    others = [make_dataset(32), make_dataset(dtype=torch.float32), make_dataset(), make_dataset(), make_dataset()]
    others[2].pixels[7, 0, 0, 0] ^= 1
    others[3].labels[7] = (others[3].labels[7] + 1) % 3
    others[4].mean = (0.4, 0.5, 0.7)
    assert len({dataset.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_pickling_leaves_the_copy_on_the_device_behind():
    dataset = make_dataset()
    bare = len(pickle.dumps(dataset))
    next(dataset.batches(4, "meta"))  # the only other device every machine has
    assert len(pickle.dumps(dataset)) == bare
    loaded = pickle.loads(pickle.dumps(dataset))
    assert loaded.fingerprint == dataset.fingerprint
    assert torch.equal(loaded.images("cpu"), dataset.images("cpu"))


def test_images_are_taken_to_a_device_once():
    dataset = make_dataset()
    next(dataset.batches(4, "meta"))
    resident = dataset._resident
    list(dataset.batches(4, "meta", shuffle_seed=1))
    assert dataset._resident is resident


def test_images_that_would_fill_the_device_travel_batch_by_batch(monkeypatch):
    """No GPU here: how much is free is made up, and the device is the one that holds shapes only."""
    dataset = make_dataset()
    monkeypatch.setattr("flatselect.data.dataset.find_free_memory", lambda device: 4 * dataset.pixels.nbytes - 1)
    batches = list(dataset.batches(8, "meta", shuffle_seed=1, augmentation="flip+shift"))
    assert dataset._resident is None
    assert {part.device.type for batch in batches for part in batch} == {"meta"}
    assert [tuple(images.shape) for images, _ in batches] == [
        tuple(images.shape) for images, _ in dataset.batches(8, "cpu", shuffle_seed=1)
    ]
    assert dataset.images("meta").device.type == "meta"
    monkeypatch.setattr("flatselect.data.dataset.find_free_memory", lambda device: 4 * dataset.pixels.nbytes)
    next(dataset.batches(8, "meta"))
    assert dataset._resident is not None
