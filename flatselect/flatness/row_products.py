"""Products of many rows with one matrix, as fast as the processor computes convolutions."""

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

    On a CPU PyTorch's matrix products are MKL's, which keeps its widest instructions to its own maker's processors (2.2
    times slower on an AMD EPYC with AVX-512), and its convolutions oneDNN's, which asks what a processor can do. So the
    rows are run as pixels of images through a 1×1 convolution.

    Args:
        rows: (n_rows, n_numbers); may be some columns of a larger array.
        matrix: (n_columns, n_numbers), one after the other in memory.
    """
    has_convolution = rows.device.type == "cpu" and rows.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    n_images = _find_divisor(len(rows)) if has_convolution else None
    if n_images is None:
        return rows @ matrix.mT
    images = rows.unflatten(0, (n_images, -1))[:, :, None].permute(0, 3, 1, 2)  # channels last
    return F.conv2d(images, matrix[:, :, None, None]).permute(0, 2, 3, 1).reshape(len(rows), len(matrix))


def _find_divisor(n_rows: int) -> int | None:
    """How many images of at least two pixels the rows can be."""
    if n_rows < _LEAST_ROWS:
        return None
    return next((n for n in range(_LEAST_IMAGES, _MOST_IMAGES + 1) if n_rows % n == 0), None)
