"""Images of one size from images of another."""

import torch
from torch import Tensor
from torch.nn import functional

_PART = 4096  # images at once: 60,000 as floats would need four times their room


def resize_images(images: Tensor, size: int) -> Tensor:
    """Scales images to size × size pixels, bilinear with antialiasing.

    Args:
        images: (n_images, channels, height, width), uint8 (rounded again afterwards) or float32.
        size: New height and width.
    """
    return torch.cat([_resize_part(part, size) for part in torch.split(images, _PART)])


def _resize_part(images: Tensor, size: int) -> Tensor:
    resized = functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else resized
