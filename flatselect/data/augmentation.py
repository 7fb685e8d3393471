"""Random flips and shifts of whole batches, on the device the batch is on."""

from dataclasses import dataclass
from typing import Self, get_args

import torch
from torch import Tensor

from flatselect.config import Augmentation
from flatselect.errors import DataError


@dataclass(frozen=True)
class RandomMoves:
    """How each image of one pass over a set is moved.

    Drawn for the whole pass at once, so that an image's move does not depend on the batch size; drawn on the CPU, so
    that it does not depend on the device.

    Attributes:
        flipped: Mirrored left to right, bool (n_images,).
        down: Rows the image moves down, int64 (n_images,), at most an eighth of the height either way.
        right: Columns it moves to the right, likewise.
    """

    flipped: Tensor
    down: Tensor
    right: Tensor

    @classmethod
    def draw(cls, augmentation: str, n_images: int, height: int, width: int, generator: torch.Generator) -> Self:
        """Draws the moves of n_images images of height × width pixels.

        Raises:
            DataError: The augmentation has no such name.
        """
        if augmentation not in get_args(Augmentation):
            raise DataError(f"augmentation {augmentation!r}: expected one of {', '.join(get_args(Augmentation))}")
        kinds = augmentation.split("+")
        flipped = torch.zeros(n_images, dtype=torch.bool)
        down, right = torch.zeros(2, n_images, dtype=torch.int64)
        if "flip" in kinds:
            flipped = torch.rand(n_images, generator=generator) < 0.5
        if "shift" in kinds:
            down = torch.randint(-(height // 8), height // 8 + 1, (n_images,), generator=generator)
            right = torch.randint(-(width // 8), width // 8 + 1, (n_images,), generator=generator)
        return cls(flipped, down, right)

    def apply(self, images: Tensor, indices: Tensor) -> Tensor:
        """Moves a batch; the image is mirrored first, and what a shift uncovers is the image's own reflection.

        Args:
            images: The batch (n, channels, height, width), of any dtype.
            indices: Which images of the pass these are (n,), on the CPU.
        """
        height, width = images.shape[2:]
        rows = _reflect(torch.arange(height) - self.down[indices, None], height)
        columns = _reflect(torch.arange(width) - self.right[indices, None], width)
        columns = torch.where(self.flipped[indices, None], width - 1 - columns, columns)
        flat = (rows[:, :, None] * width + columns[:, None, :]).flatten(1).to(images.device)
        return images.flatten(2).gather(2, flat[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0..size−1 mirrored at the first and the last pixel."""
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)
