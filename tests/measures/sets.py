"""Sets of images to measure: logits, features, the classifier that joins them, and labels."""

from typing import NamedTuple

import torch
from torch import Tensor


class ImageSet(NamedTuple):
    logits: Tensor
    features: Tensor
    weight: Tensor
    labels: Tensor


def make_set(n_images: int = 40, n_classes: int = 4, n_features: int = 5, seed: int = 0) -> ImageSet:
    """A linear classifier on random features that are not centred, in float64."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n_images, n_features, generator=generator, dtype=torch.float64) + 0.5
    weight = torch.randn(n_classes, n_features, generator=generator, dtype=torch.float64)
    bias = torch.randn(n_classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, (n_images,), generator=generator)
    return ImageSet(features @ weight.mT + bias, features, weight, labels)


def differentiate_loss(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Autograd's gradient (C·F,) and Hessian (C·F, C·F) of the mean cross-entropy in the classifier's weight."""
    offsets = images.logits - images.features @ images.weight.mT

    def compute_loss(weight: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(images.features @ weight.mT + offsets, images.labels)

    size = images.weight.numel()
    gradient = torch.autograd.functional.jacobian(compute_loss, images.weight).reshape(size)
    return gradient, torch.autograd.functional.hessian(compute_loss, images.weight).reshape(size, size)
