"""float32 products in float32, whatever the user allows a network's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, products of float32 matrices are not cut to TF32 or bfloat16.

    `torch.set_float32_matmul_precision("high")`, which many set for speed, does so to every product of a process, on
    GPUs and on CPUs with AMX. It costs a network little, but sums of products here their third or fourth digit. What
    was set is put back after.
    """
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # PyTorch before 2.9
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
        return
    mkldnn: Any = torch.backends.mkldnn
    kinds = (torch.backends.cuda.matmul, mkldnn.matmul, mkldnn.conv)
    precisions = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, was in zip(kinds, precisions, strict=True):
            kind.fp32_precision = was
