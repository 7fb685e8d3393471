"""Products of one matrix with many rows or many maps, as fast as the processor computes convolutions.

On a CPU PyTorch's matrix products are MKL's, which keeps its widest instructions to its own maker's processors (2.2
times slower on an AMD EPYC with AVX-512) and reads the matrix anew for every map. Its convolutions are oneDNN's, which
asks what a processor can do. So the matrix is run as the weight of a 1×1 convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# PyTorch gives a 1×1 convolution of so many images to oneDNN, also where it runs on one thread.
_LEAST_IMAGES = 16
_MOST_IMAGES = 64
# With fewer, calls cost more than products.
_LEAST_ROWS = 8 * _LEAST_IMAGES


def multiply_rows(rows: Tensor, matrix: Tensor) -> Tensor:
    """rows·matrixᵀ, (n_rows, n_columns).

    Args:
        rows: (n_rows, n_numbers); may be some columns of a larger array. They are run as the pixels of images.
        matrix: (n_columns, n_numbers).
    """
    n_images = _find_divisor(len(rows)) if _has_onednn(rows) else None
    if n_images is None:
        return rows @ matrix.mT
    images = rows.unflatten(0, (n_images, -1))[:, :, None].permute(0, 3, 1, 2)  # channels last
    return F.conv2d(images, matrix.contiguous()[:, :, None, None]).permute(0, 2, 3, 1).reshape(len(rows), len(matrix))


def multiply_channels(matrix: Tensor, maps: Tensor) -> Tensor:
    """matrix·map of every image, (n_images, n_rows, n_positions).

    Args:
        matrix: (n_rows, n_channels).
        maps: (n_images, n_channels, n_positions).
    """
    n_images, n_channels, n_positions = maps.shape
    # A product with many columns is a large one by itself.
    if _has_onednn(maps) and n_images >= _LEAST_IMAGES and 0 < n_positions < n_channels:
        return F.conv1d(maps, matrix[:, :, None])
    return matrix @ maps


def _has_onednn(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def _find_divisor(n_rows: int) -> int | None:
    """How many images of at least two pixels the rows can be."""
    if n_rows < _LEAST_ROWS:
        return None
    return next((n for n in range(_LEAST_IMAGES, _MOST_IMAGES + 1) if n_rows % n == 0), None)
