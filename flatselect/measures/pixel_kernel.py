"""How hard a training set is, as told by a classifier that is not trained: kernel ridge regression on its pixels."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

_RIDGE = 0.1
_LARGEST_SIDE = 32
# Decimal places: what is left of the order in which threads add up goes, and classes that tie do so everywhere.
_PLACES = 9
# Squared distance of two images, as a part of their squared norms, below which it is rounding.
_ROUNDING = 1e-12


def measure_pixel_kernel(batches: Iterable[tuple[Tensor, Tensor]], n_classes: int) -> dict[str, float]:
    """Accuracy and squared error of kernel ridge regression on pixels, each image left out in turn.

    With K = exp(−‖x − x'‖²/m), m the median of the squared distances, A = (K + 0.1·I)⁻¹ and targets Y, one-hot labels
    less 1/C, what is said of image i without it is exactly

        Y_i − (A·Y)_i / A_ii    (Rasmussen & Williams 2006, eq. 5.12)

    So labels of training images alone tell what accuracy comes without learning, and how many labels are wrong. It is
    a property of the set: all networks that are trained on it share it.

    Args:
        batches: Normalised images, (n_images, channels, height, width), of which those larger than 32 pixels are
            averaged down to it; and labels, (n_images,). Two thousand take a second or two; time grows with n³.
        n_classes: C.

    Returns:
        `pixel_kernel_accuracy`, `pixel_kernel_squared_error` (mean over images of the squared distance to Y_i); nothing
        for fewer than two images.
    """
    reduced = [(_shrink(images).flatten(1).double(), labels.cpu()) for images, labels in batches]
    pixels, labels = (torch.cat(parts) for parts in zip(*reduced, strict=True))
    n_images = len(labels)
    if n_images < 2:
        return {}
    distances = torch.cdist(pixels, pixels).square()
    norms = pixels.square().sum(1)
    # Where most images are alike, rounding would be the median, and they would be told apart by it.
    distances[distances < _ROUNDING * (norms[:, None] + norms)] = 0
    median = distances[~torch.eye(n_images, dtype=torch.bool)].median().clamp_min(torch.finfo(torch.float64).tiny)
    inverse = torch.linalg.inv(torch.exp(-distances / median) + _RIDGE * torch.eye(n_images, dtype=torch.float64))
    # What is said of all classes without images is the same: the last column stands for them.
    present, labels = labels.unique(return_inverse=True)
    n_of_column = torch.tensor([1] * len(present) + [n_classes - len(present)], dtype=torch.float64)
    targets = functional.one_hot(labels, len(n_of_column)).double() - 1 / n_classes
    residuals = (inverse @ targets) / inverse.diagonal()[:, None]
    is_right = (targets - residuals)[:, n_of_column > 0].round(decimals=_PLACES).argmax(1) == labels
    error = (residuals.square() @ n_of_column).mean().item()
    return {
        "pixel_kernel_accuracy": is_right.double().mean().item(),
        "pixel_kernel_squared_error": round(error, _PLACES),
    }


def _shrink(images: Tensor) -> Tensor:
    height, width = (min(side, _LARGEST_SIDE) for side in images.shape[2:])
    return functional.adaptive_avg_pool2d(images.detach().cpu().float(), (height, width))
