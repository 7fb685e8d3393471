"""What a labelled set of images is to the rest of the program, and the kind that lies in memory."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from flatselect.data.augmentation import RandomMoves
from flatselect.data.batching import plan_batches
from flatselect.data.normalization import Constants, normalize_images

Device = torch.device | str

# Of a GPU's free memory: the rest is for networks, and for the sets of other trials on it.
_LARGEST_SHARE = 0.25
# Several batches, so that several processes can decode the images of a folder.
_GATHERED_AT_ONCE = 256


class Dataset(Protocol):
    """Labelled images that can be cut into batches again and again, each time with the same bits.

    Attributes:
        name: As in the study file.
        labels: Integers 0..n_classes−1, int64 (n_images,), on the CPU.
        class_names: (n_classes,).
        input_shape: (channels, height, width).
        mean: By channel, on [0, 1], subtracted from the images; None where they are taken as they are.
        std: By channel, on [0, 1], what they are divided by.
        fingerprint: SHA-256 of what the set holds.
    """

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...
    @property
    def mean(self) -> Constants | None: ...
    @property
    def std(self) -> Constants | None: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def n_classes(self) -> int: ...
    def __len__(self) -> int: ...

    def subset(self, indices: Tensor) -> "Dataset":
        """The images at `indices`, as a set of its own with the same classes and normalisation."""
        ...

    def batches(
        self, batch_size: int, device: Device, *, shuffle_seed: int | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the set.

        Args:
            batch_size: Images a batch; the last batch holds what is left.
            device: Where the batches are wanted.
            shuffle_seed: None: in order. Else order and augmentation are functions of it alone, and a single last
                image joins the batch before, since batch normalisation cannot train on one image.
            augmentation: none, flip, shift or flip+shift.

        Yields:
            Normalised images, float32 (n, channels, height, width), and their labels, int64 (n,), both on `device`.
        """
        ...


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """What the database remembers of a set of images, whatever their normalisation."""
    return {
        "fingerprint": dataset.fingerprint,
        "n_images": len(dataset),
        "name": dataset.name,
        "class_names": list(dataset.class_names),
        "input_shape": list(dataset.input_shape),
    }


def describe_training_set(dataset: Dataset) -> dict[str, Any]:
    """What is kept beside networks of the images that they were trained on: `describe_dataset`, mean and std."""
    return {**describe_dataset(dataset), "mean": dataset.mean, "std": dataset.std}


def gather_images(dataset: Dataset, device: Device) -> tuple[Tensor, Tensor]:
    """All images of a set that has some, in order, as one tensor, and their labels.

    Returns:
        Normalised images, float32 (n_images, channels, height, width), and labels, int64 (n_images,), both on `device`.
    """
    images, labels = zip(*dataset.batches(_GATHERED_AT_ONCE, device), strict=True)
    return torch.cat(images), torch.cat(labels)


@dataclass(eq=False)
class TensorDataset:
    """Images in memory. The first pass on a GPU takes them all there, where they stay for later passes.

    Unless they would take more than a quarter of the memory that is free there: then each batch travels by itself.

    Attributes:
        pixels: uint8 or float32 (n_images, channels, height, width), on the CPU. uint8 is scaled to [0, 1] and
            normalised; float32 is taken as it is.
        labels: int64 (n_images,).
        class_names: (n_classes,).
        name: As in the study file.
        mean: By channel, on [0, 1]; None for no normalisation beyond [0, 1].
        std: By channel, on [0, 1].
    """

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    name: str = "tensors"
    mean: Constants | None = None
    std: Constants | None = None
    _resident: tuple[torch.device, Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without the copy on the device."""
        return self.__dict__ | {"_resident": None}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the images' bytes, shape and type, the labels, mean and std."""
        digest = hashlib.sha256(repr((tuple(self.pixels.shape), str(self.pixels.dtype), self.mean, self.std)).encode())
        digest.update(self.pixels.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> "TensorDataset":
        return dataclasses.replace(self, pixels=self.pixels[indices], labels=self.labels[indices])

    def images(self, device: Device) -> Tensor:
        """All images, normalised, float32 (n_images, channels, height, width), on `device`."""
        return normalize_images(self._move_to(device)[0].to(device), self.mean, self.std)

    def batches(
        self, batch_size: int, device: Device, *, shuffle_seed: int | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the set: see `Dataset.batches`."""
        images, labels = self._move_to(device)
        generator = torch.Generator().manual_seed(shuffle_seed or 0)
        plan = plan_batches(len(self), batch_size, None if shuffle_seed is None else generator)
        moves = RandomMoves.draw(augmentation, len(self), *self.input_shape[1:], generator)
        for indices in plan:
            there = indices.to(images.device)
            batch = images[there].to(device)
            if augmentation != "none":
                batch = moves.apply(batch, indices)
            yield normalize_images(batch, self.mean, self.std), labels[there].to(device)

    def _move_to(self, device: Device) -> tuple[Tensor, Tensor]:
        # "cuda" alone means the current GPU: an empty tensor says which one.
        device = torch.empty(0, device=device).device
        if device.type == "cpu":
            return self.pixels, self.labels
        if self._resident is None or self._resident[0] != device:
            if self.pixels.nbytes > _LARGEST_SHARE * find_free_memory(device):
                return self.pixels, self.labels
            self._resident = (device, self.pixels.to(device), self.labels.to(device))
        return self._resident[1:]


def find_free_memory(device: torch.device) -> float:
    """Bytes that are free on a GPU; of other devices nobody knows."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else math.inf
