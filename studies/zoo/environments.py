"""What the zoo's networks are trained and tested on: real images in many settings that differ in how hard they are."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flatselect.data.arrays import load_arrays
from flatselect.data.dataset import TensorDataset
from flatselect.data.digits import load_digits
from flatselect.data.normalization import compute_mean_std
from flatselect.data.resizing import resize_images
from flatselect.data.splits import draw_stratified
from flatselect.data.torchvision_sets import load_torchvision_set
from flatselect.training.seeding import derive_seed

BASES = ("digits", "MNIST", "FashionMNIST")
# From this one on trainings are short, and there may be more images: few networks learn them by heart.
FIRST_SHORT = 60
# From this one on images are CIFAR-10's, photographs in colour; trainings are long and short in turn.
FIRST_CIFAR10 = 120
_MOST_TEST_IMAGES = 5000
_LEAST_TEST_DIGITS = 597


@dataclass(frozen=True)
class Environment:
    """One setting: which images, how many, and how they are spoiled.

    Attributes:
        number: From 0; seeds everything that is drawn.
        base: One of `BASES`, or CIFAR10.
        n_images: Labelled images to train on.
        image_size: Height and width.
        n_classes: The first so many classes, in an order drawn by lot.
        label_noise: Part of the training labels that are replaced by another class; the test labels are clean.
        pixel_noise: Standard deviation of Gaussian noise on pixels, on [0, 1], on training and test images.
        rotation: Largest angle in degrees by which training and test images are turned.
    """

    number: int
    base: str
    n_images: int
    image_size: int
    n_classes: int
    label_noise: float
    pixel_noise: float
    rotation: float

    @classmethod
    def draw(cls, number: int) -> Self:
        """The environment of a number: bases in turn, all else by lot."""
        generator = np.random.default_rng(derive_seed("zoo", "environment", number))
        base = "CIFAR10" if number >= FIRST_CIFAR10 else BASES[number % len(BASES)]
        image_sizes = [14]
        if base == "CIFAR10":
            n_images, image_sizes = [500, 1000, 2000, 4000], [16, 16, 16, 32]
        elif base == "digits":
            n_images, image_sizes = [150, 300, 600, 1000], [8]
        else:
            n_images = [250, 500, 1000, 2000] if number >= FIRST_SHORT else [250, 500, 800, 1200]
        return cls(
            number=number,
            base=base,
            n_images=int(generator.choice(n_images)),
            image_size=image_sizes[number // 2 % len(image_sizes)],
            n_classes=int(generator.choice([10, 10, 10, 10, 10, 10, 5, 5])),
            label_noise=float(generator.choice([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.2])),
            pixel_noise=float(generator.choice([0.0, 0.0, 0.0, 0.0, 0.1, 0.2])),
            rotation=float(generator.choice([0.0, 0.0, 0.0, 0.0, 15.0, 30.0])),
        )

    @property
    def is_short(self) -> bool:
        """Whether networks see few images, as in a search of short trials."""
        return self.number % 2 == 1 if self.number >= FIRST_CIFAR10 else self.number >= FIRST_SHORT

    def load(self, roots: dict[str, str | None]) -> tuple[TensorDataset, TensorDataset]:
        """The training set and the test set; `roots` says where each base that is not in a package lies."""
        train, test = _load_base(self.base, roots.get(self.base))
        order = np.random.default_rng(self._seed("classes")).permutation(train.n_classes)[: self.n_classes]
        train, test = (_keep_classes(part, order.tolist()) for part in (train, test))
        if self.base == "digits":  # 500 test images of its own are few: all that is not trained on joins them
            pixels, labels = torch.cat([train.pixels, test.pixels]), torch.cat([train.labels, test.labels])
            everything = dataclasses.replace(train, pixels=pixels, labels=labels)
            n_images = min(self.n_images, len(labels) * (1797 - _LEAST_TEST_DIGITS) // 1797)
            drawn = draw_stratified(labels, n_images, self._seed("draw"))
            is_drawn = torch.zeros(len(labels), dtype=torch.bool)
            is_drawn[drawn] = True
            train, test = everything.subset(drawn), everything.subset((~is_drawn).nonzero().squeeze(1))
        else:
            train = train.subset(draw_stratified(train.labels, self.n_images, self._seed("draw")))
            n_test = min(len(test), _MOST_TEST_IMAGES)
            test = test.subset(draw_stratified(test.labels, n_test, self._seed("test draw")))
        train, test = (self._spoil_pixels(part, name) for part, name in ((train, "train"), (test, "test")))
        train = dataclasses.replace(train, labels=self._spoil_labels(train.labels))
        mean, std = compute_mean_std([train.pixels])
        return dataclasses.replace(train, mean=mean, std=std), dataclasses.replace(test, mean=mean, std=std)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def _spoil_pixels(self, images: TensorDataset, part: str) -> TensorDataset:
        generator = torch.Generator().manual_seed(self._seed("pixels", part))
        pixels = images.pixels
        if self.image_size != pixels.shape[-1]:
            pixels = resize_images(pixels, self.image_size)
        values = pixels.float()
        if self.rotation:
            angles = (2 * torch.rand(len(values), generator=generator) - 1) * math.radians(self.rotation)
            zero = torch.zeros_like(angles)
            matrices = torch.stack([angles.cos(), -angles.sin(), zero, angles.sin(), angles.cos(), zero], dim=1).view(
                -1, 2, 3
            )
            grid = functional.affine_grid(matrices, list(values.shape), align_corners=False)
            values = functional.grid_sample(values, grid, align_corners=False)
        if self.pixel_noise:
            values = values + 255 * self.pixel_noise * torch.randn(values.shape, generator=generator)
        return dataclasses.replace(images, pixels=values.round().clamp(0, 255).to(torch.uint8))

    def _spoil_labels(self, labels: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed("labels"))
        is_wrong = torch.rand(len(labels), generator=generator) < self.label_noise
        moves = torch.randint(1, self.n_classes, labels.shape, generator=generator)
        return torch.where(is_wrong, (labels + moves) % self.n_classes, labels)

    def _seed(self, *what: str) -> int:
        return derive_seed("zoo", "environment", self.number, *what)


@cache
def _load_base(base: str, root: str | None) -> tuple[TensorDataset, TensorDataset]:
    if base == "digits":
        return load_digits("train"), load_digits("test")
    if base == "CIFAR10":
        if root is None:
            raise SystemExit("environments of CIFAR-10 need --cifar10 FOLDER, as studies/cifar10_arrays.py makes it")
        return load_arrays(Path(root, "train.npz")), load_arrays(Path(root, "test.npz"))
    folder = None if root is None else str(Path(root))
    return load_torchvision_set(base, "train", folder, False), load_torchvision_set(base, "test", folder, False)


def _keep_classes(images: TensorDataset, classes: list[int]) -> TensorDataset:
    new_number = torch.full((images.n_classes,), -1)
    new_number[classes] = torch.arange(len(classes))
    chosen = (new_number[images.labels] >= 0).nonzero().squeeze(1)
    kept = images.subset(chosen)
    names = tuple(images.class_names[c] for c in classes)
    return dataclasses.replace(kept, labels=new_number[kept.labels], class_names=names)
