"""Splits stratified by class: every part holds each class in the proportion of the whole."""

import torch
from torch import Tensor

from flatselect.errors import DataError


def split_holdout(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits a labelled set into a training part and a held-out part.

    The held-out part has round(fraction · n_images) images, at least one, and never a class's last image: each class
    keeps one in training.

    Args:
        labels: Integers (n_images,).
        fraction: Part of the images to hold out, in (0, 1).
        seed: Of the draw; the split is a function of labels, fraction and seed alone.

    Returns:
        Indices of the training images and of the held-out images, int64, each sorted.

    Raises:
        DataError: The fraction is not in (0, 1), or every class has one image.
    """
    if not 0 < fraction < 1:
        raise DataError(f"cannot hold out a fraction of {fraction}; expected a number between 0 and 1, such as 0.2")
    counts = _count_classes(labels)
    capacity = (counts - 1).clamp(min=0)
    if capacity.sum() == 0:
        raise DataError(
            f"cannot hold out any of {len(labels)} images: each class has one, which training needs; "
            "give more labelled images"
        )
    n_holdout = min(max(1, round(fraction * len(labels))), int(capacity.sum()))
    generator = torch.Generator().manual_seed(seed)
    shares = _share_out(n_holdout, counts, torch.zeros_like(counts), capacity, generator)
    holdout = _draw_by_class(labels, shares, generator)
    in_training = torch.ones(len(labels), dtype=torch.bool)
    in_training[holdout] = False
    return in_training.nonzero().squeeze(1), holdout


def draw_stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Draws n images, each class in its proportion, and each class at least once where n allows it.

    Args:
        labels: Integers (n_images,).
        n: Images to draw, 0 ≤ n ≤ n_images.
        seed: Of the draw.

    Returns:
        Indices of the images drawn, int64 (n,), sorted.

    Raises:
        DataError: There are fewer than n images.
    """
    if not 0 <= n <= len(labels):
        raise DataError(f"cannot draw {n} images: there are {len(labels)}; ask for at most that many")
    counts = _count_classes(labels)
    present = (counts > 0).long()
    at_least = present if n >= present.sum() else torch.zeros_like(counts)
    generator = torch.Generator().manual_seed(seed)
    return _draw_by_class(labels, _share_out(n, counts, at_least, counts, generator), generator)


def _count_classes(labels: Tensor) -> Tensor:
    return torch.bincount(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)


def _share_out(n: int, counts: Tensor, at_least: Tensor, at_most: Tensor, generator: torch.Generator) -> Tensor:
    """How many of n images each class gives: the largest remainders, within the bounds, ties by lot."""
    if n == 0:
        return torch.zeros_like(counts)
    exact = counts.double() * n / counts.sum()
    lot = torch.rand(len(counts), generator=generator, dtype=torch.float64) * 1e-6
    shares = (counts * n // counts.sum()).clamp(at_least, at_most)
    while (missing := n - int(shares.sum())) != 0:
        if missing > 0:
            owed = (exact - shares + lot).masked_fill(shares >= at_most, -torch.inf)
            shares[owed.argmax()] += 1
        else:
            owed = (exact - shares + lot).masked_fill(shares <= at_least, torch.inf)
            shares[owed.argmin()] -= 1
    return shares


def _draw_by_class(labels: Tensor, shares: Tensor, generator: torch.Generator) -> Tensor:
    by_class, order = labels.sort(stable=True)
    present, counts = by_class.unique_consecutive(return_counts=True)  # labels may be numbers far apart
    drawn = [torch.zeros(0, dtype=torch.int64)]
    for share, members in zip(shares[present].tolist(), order.split(counts.tolist()), strict=True):
        drawn.append(members[torch.randperm(len(members), generator=generator)[:share]])
    return torch.cat(drawn).sort().values
