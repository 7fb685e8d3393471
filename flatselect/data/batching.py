"""Which images stand in which batch."""

import torch
from torch import Tensor


def plan_batches(n_images: int, batch_size: int, generator: torch.Generator | None) -> list[Tensor]:
    """Cuts one pass over n_images images into batches.

    Args:
        n_images: Images in the set.
        batch_size: Images a batch; the last one holds what is left.
        generator: Draws the order; None keeps it. In a drawn order, a single last image joins the batch before:
            batch normalisation cannot train on one image of one pixel.

    Returns:
        Indices of each batch, int64 (n,), on the CPU.
    """
    order = torch.arange(n_images) if generator is None else torch.randperm(n_images, generator=generator)
    batches = list(torch.split(order, batch_size)) if n_images else []
    if generator is not None and batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
