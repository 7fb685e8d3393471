"""From pixels of 0 to 255 to inputs of mean 0 and standard deviation 1 by channel."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from flatselect.errors import DataError

Constants = tuple[float, ...]


def normalize_images(images: Tensor, mean: Constants | None, std: Constants | None) -> Tensor:
    """Scales uint8 images to [0, 1] and applies (x − mean) / std by channel; float images are taken as they are.

    Args:
        images: (n, channels, height, width), uint8 or float32.
        mean: By channel, on [0, 1]; None for 0.
        std: By channel, on [0, 1]; None for 1.
    """
    if images.dtype != torch.uint8:
        return images
    if mean is None or std is None:
        return images.float() / 255
    shape = (1, len(mean), 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device).view(shape)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device).view(shape)
    return images.float().mul_(scale).add_(offset)


def compute_mean_std(batches: Iterable[Tensor]) -> tuple[Constants, Constants]:
    """Mean and standard deviation by channel, on [0, 1], over every pixel of uint8 batches (n, channels, h, w).

    Counted in histograms, so that the result is exact whatever the number of pixels. A channel that never changes has
    standard deviation 0; it is reported as 1, for it to be centred and nothing more.
    """
    histograms = torch.stack(
        [torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in b.unbind(1)]) for b in batches]
    ).sum(0)  # (channels, 256)
    weights = histograms.double() / histograms.sum(1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ levels
    variance = (weights * (levels - mean[:, None]) ** 2).sum(1)
    std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
    return tuple(mean.tolist()), tuple(std.tolist())


def match_channels(values: Sequence[float], n_channels: int, key: str) -> Constants:
    """One value for each channel: given so, or one value for all.

    Raises:
        DataError: There is another number of values; `key` names the setting.
    """
    if len(values) not in (1, n_channels):
        expected = "1" if n_channels == 1 else f"1 or {n_channels}"
        raise DataError(f"{key} has {len(values)} values; expected {expected}: the images' channels are {n_channels}")
    return tuple(values) if len(values) == n_channels else tuple(values) * n_channels
