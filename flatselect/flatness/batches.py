"""What users give as images, batch by batch."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flatselect.errors import DataError
from flatselect.flatness.model_state import check_finite
from flatselect.flatness.patches import CONVOLUTIONS


class Batch(NamedTuple):
    """Images (n_images, channels, *size) and, where there are any, their labels (n_images,)."""

    images: Tensor
    labels: Tensor | None

    def split(self, size: int) -> Iterator["Batch"]:
        labels = [None] * len(self.images) if self.labels is None else self.labels.split(size)
        return (Batch(*part) for part in zip(self.images.split(size), labels, strict=False))


def find_image_axes(model: nn.Module) -> set[int]:
    """How many axes a batch of images may have: as the model's convolutions take it."""
    found = {len(module.kernel_size) + 2 for module in model.modules() if isinstance(module, CONVOLUTIONS)}
    return found or {4}


def iterate_batches(
    data: Tensor | Iterable[object], batch_size: int, n_axes: set[int], label_companions: Collection[str] = ()
) -> Iterator[Batch]:
    """Yields the batches that hold images.

    Args:
        data: As `measure` takes it.
        batch_size: Images a batch, where data is one tensor or one (images, labels) pair.
        n_axes: How many axes a batch of images may have.
        label_companions: What labels are needed for; without any, they are not looked at.

    Raises:
        DataError: Something else than images, or no labels where they are needed.
        NonFiniteError: An image holds NaN or infinite values.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise DataError(f"batch_size={batch_size}; expected a whole number of at least 1")
    if isinstance(data, (tuple, list)) and len(data) == 2 and _are_labels(data[1]):
        data = _split_pair(data[0], data[1], batch_size)
    if isinstance(data, Tensor):
        data = data.split(batch_size) if data.layout is torch.strided else [data]
    try:
        batches: Iterator[object] = iter(data)
    except TypeError as error:
        raise DataError(
            f"the data is {type(data).__name__}; expected a tensor of images or an iterable of batches"
        ) from error
    for number, batch in enumerate(batches):
        images, labels = batch, None
        if isinstance(batch, (tuple, list)) and batch:
            images, labels = batch[0], batch[1] if len(batch) > 1 and _are_labels(batch[1]) else None
        if not isinstance(images, Tensor) or images.ndim not in n_axes or images.layout is not torch.strided:
            given = type(images).__name__
            if isinstance(images, Tensor):
                sparse = "" if images.layout is torch.strided else f", {images.layout}"
                given = f"shape {tuple(images.shape)}{sparse}"
            raise DataError(
                f"batch {number} of the data is {given}; expected a tensor of images (n_images, channels, height, "
                "width), or (images, labels); a Dataset of single images needs a DataLoader around it"
            )
        if label_companions and (labels is None or len(labels) != len(images)):
            given = "no labels" if labels is None else f"{len(labels)} labels"
            raise DataError(
                f"batch {number} of the data has {given} for {len(images)} images; {', '.join(label_companions)} "
                "need (images, labels) batches"
            )
        if len(images):
            check_finite(images, f"batch {number} of the images")
            yield Batch(images, labels if label_companions else None)


def _split_pair(images: object, labels: Any, batch_size: int) -> Iterable[object]:
    if not isinstance(images, Tensor) or len(images) != len(labels):
        return [(images, labels)]
    return zip(images.split(batch_size), labels.split(batch_size), strict=True)


def _are_labels(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1
