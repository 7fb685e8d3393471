"""From what Python users hold images in to a set in memory."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from flatselect.data.dataset import Dataset, TensorDataset, gather_images
from flatselect.errors import DataError

_EXPECTED = (
    "expected labelled images: a pair of tensors (images, labels), an iterable of such batches, a torch Dataset of "
    "(image, label), or a set of flatselect.data"
)
_BATCH_SIZE = 256
_N_IMAGE_AXES = 4


def collect_labelled(data: Any) -> Dataset:
    """A set of ours as it is; anything else of (images, labels) in memory.

    Raises:
        DataError: It is none of these, holds nothing, or images and labels do not fit each other.
    """
    if _is_dataset(data):
        dataset: Dataset = data
        return dataset
    if _is_pair(data):
        return _make_set(*data)
    images, labels = [], []
    for batch in _iterate(data, _EXPECTED):
        if not isinstance(batch, Sequence) or len(batch) < 2 or not isinstance(batch[0], Tensor):
            raise DataError(f"a batch is {_describe(batch)}; {_EXPECTED}")
        images.append(batch[0])
        labels.append(torch.as_tensor(batch[1]))
    if not images:
        raise DataError(f"the data holds no images; {_EXPECTED}")
    return _make_set(torch.cat(images), torch.cat(labels))


def collect_images(data: Any, train_set: Dataset) -> Tensor:
    """All images, (n_images, channels, height, width) float32; labels beside them are not looked at.

    Raises:
        DataError: There are none, or they are unlike the training images.
    """
    if _is_dataset(data):
        batches = [gather_images(data, "cpu")[0]]
    elif isinstance(data, Tensor):
        batches = [data]
    elif _is_pair(data):
        batches = [data[0]]
    else:
        expected = "expected unlabelled images: a tensor, or an iterable of batches"
        batches = [batch[0] if isinstance(batch, Sequence) else batch for batch in _iterate(data, expected)]
        if not batches or not all(isinstance(batch, Tensor) for batch in batches):
            raise DataError(f"the unlabelled data is {_describe(data)} of no tensors; {expected}")
    images = torch.cat(batches)
    _check_images(images)
    if tuple(images.shape[1:]) != tuple(train_set.input_shape):
        raise DataError(
            f"unlabelled images are {_show(images.shape[1:])}, training images {_show(train_set.input_shape)} "
            "(channels×height×width); expected the same"
        )
    return images.float()


def _make_set(images: Tensor, labels: Tensor) -> TensorDataset:
    _check_images(images)
    if labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(images):
        raise DataError(
            f"labels of shape {tuple(labels.shape)} and {labels.dtype} for {len(images)} images; expected one integer "
            "for each image"
        )
    labels = labels.long().cpu()
    if int(labels.min()) < 0:
        raise DataError(f"labels go down to {int(labels.min())}; expected integers from 0")
    class_names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return TensorDataset(images.detach().float().cpu(), labels, class_names, name="data")


def _check_images(images: Tensor) -> None:
    if images.ndim != _N_IMAGE_AXES or not len(images) or not images.is_floating_point():
        raise DataError(
            f"images of shape {tuple(images.shape)} and {images.dtype}; expected at least one, (n_images, channels, "
            "height, width) of floats, normalised as the networks take them"
        )
    broken = images.isfinite().flatten(1).all(1).logical_not().nonzero()
    if len(broken):
        raise DataError(f"{len(broken)} images hold NaN or infinity, first image {int(broken[0])}; remove them")


def _is_dataset(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("batches", "subset", "labels", "input_shape"))


def _is_pair(data: Any) -> bool:
    """Whether it is images with their labels; two tensors of images are two batches."""
    if not isinstance(data, Sequence) or len(data) != 2 or not all(isinstance(part, Tensor) for part in data):
        return False
    return not data[0].ndim == data[1].ndim == _N_IMAGE_AXES


def _iterate(data: Any, expected: str) -> Iterable[Any]:
    if isinstance(data, TorchDataset):
        return DataLoader(data, batch_size=_BATCH_SIZE)
    if not isinstance(data, Iterable) or isinstance(data, str | Tensor):
        raise DataError(f"the data is {_describe(data)}; {expected}")
    return data


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _show(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
