"""How a network holds its predictions when training images are disturbed: a few forward passes, by name.

A network that has learned its training images by heart is sure of them and of little around them. In the NeurIPS 2020
competition on predicting generalisation (PGDL; Jiang et al. 2021) consistency under augmentation and mix-up told most.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flatselect.config import Extra
from flatselect.errors import DataError
from flatselect.measures.labelled import check_labels

PERTURBATION_NAMES: tuple[Extra, ...] = ("augmentation", "mixup", "noise")

# Each image is disturbed twice: of 512 images, the share that keeps its class is then known to 0.012 at worst.
N_DRAWS = 2

LARGEST_ROTATION = math.radians(15)
LARGEST_SHIFT = 0.1  # of height and width
LARGEST_SCALING = 0.1
LEAST_MIXUP_WEIGHT = 0.6
NOISE = 0.25  # standard deviation, in units of that of the images


@dataclass(frozen=True)
class _Draw:
    """One disturbance of all images.

    Attributes:
        images: Disturbed, like the images.
        partners: The image that each was mixed with, (n_images,); None where none was.
        weights: The share of the image itself in the mixture, (n_images,).
    """

    images: Tensor
    partners: Tensor | None = None
    weights: Tensor | None = None


def measure_perturbations(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    extras: Collection[Extra],
    *,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, float]:
    """Agreement, accuracy and loss of a network under each of `extras`, means over images and two draws each.

    - augmentation: turned by up to 15°, scaled by up to 10 % and moved by up to a tenth of the image, reflected at its
      edges. No flips: they change what some images show.
    - mixup: λ·x + (1 − λ)·x' with λ uniform in [0.6, 1] and x' another of the images.
    - noise: Gaussian, with a quarter of the images' standard deviation by channel.

    For each of them, by name: `EXTRA_agreement`, the share of predictions that stay what they were on the image itself;
    `EXTRA_accuracy`, the share that is its label; `EXTRA_loss`, the mean cross-entropy (nats), in a mixture
    λ·CE(y) + (1 − λ)·CE(y').

    All draws are functions of `seed` and of the images' order, not of batch size or device.

    Args:
        predict: From images (n, channels, height, width) to logits (n, n_classes), in evaluation mode, without
            gradients.
        images: Normalised training images, (n_images, channels, height, width) of a floating type.
        labels: Their classes, (n_images,).
        extras: Of `PERTURBATION_NAMES`.
        seed: Of what is drawn.
        batch_size: Images a forward pass.

    Raises:
        DataError: There are no images, they are not (n_images, channels, height, width), or labels do not fit.
    """
    if images.ndim != 4 or not len(images) or not images.is_floating_point():
        raise DataError(
            f"images of shape {tuple(images.shape)} and {images.dtype}; augmentation, mix-up and noise expect at least "
            "one image, (n_images, channels, height, width) of floats"
        )
    logits = _predict_all(predict, images, batch_size)
    labels = check_labels(labels, len(images), logits.shape[1], [f"{extra}_accuracy" for extra in extras])
    labels = labels.to(logits.device)
    kept = logits.argmax(1)
    values: dict[str, float] = {}
    for extra in (name for name in PERTURBATION_NAMES if name in extras):
        agreement, accuracy, loss = [], [], []
        for draw in _draw_all(extra, images, seed):
            disturbed = _predict_all(predict, draw.images, batch_size)
            found = disturbed.argmax(1)
            agreement.append((found == kept).double().mean())
            accuracy.append((found == labels).double().mean())
            loss.append(_mean_loss(disturbed, labels, draw))
        for name, results in (("agreement", agreement), ("accuracy", accuracy), ("loss", loss)):
            values[f"{extra}_{name}"] = torch.stack(results).mean().item()
    return values


def _draw_all(extra: Extra, images: Tensor, seed: int) -> Iterator[_Draw]:
    # On the CPU, so that the same is drawn for every device.
    generator = torch.Generator().manual_seed(seed)
    for _ in range(N_DRAWS):
        if extra == "augmentation":
            yield _Draw(_move(images, generator))
        elif extra == "mixup":
            yield _mix(images, generator)
        else:
            noise = torch.randn(images.shape, generator=generator).to(images)
            spread = images.float().std(dim=(0, 2, 3), correction=0).to(images)
            yield _Draw(images + NOISE * spread[:, None, None] * noise)


def _move(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned, scaled and moved by amounts of its own."""
    n_images, _, height, width = images.shape
    drawn = 2 * torch.rand(4, n_images, generator=generator) - 1  # (4, n_images) in [-1, 1]
    angles = LARGEST_ROTATION * drawn[0]
    scales = 1 + LARGEST_SCALING * drawn[1]
    # Coordinates run from -1 to 1 along both axes: an angle in pixels needs the ratio of the sides.
    cosines, sines, ratio = scales * angles.cos(), scales * angles.sin(), height / width
    matrices = torch.stack(
        [
            *(cosines, -sines * ratio, 2 * LARGEST_SHIFT * drawn[2]),
            *(sines / ratio, cosines, 2 * LARGEST_SHIFT * drawn[3]),
        ],
        dim=1,
    ).view(n_images, 2, 3)
    grid = functional.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _mix(images: Tensor, generator: torch.Generator) -> _Draw:
    n_images = len(images)
    # Along one cycle through all images, so that no image is its own partner (unless it is alone).
    order = torch.randperm(n_images, generator=generator)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    weights = LEAST_MIXUP_WEIGHT + (1 - LEAST_MIXUP_WEIGHT) * torch.rand(n_images, generator=generator)
    shares = weights.to(images)[:, None, None, None]
    return _Draw(shares * images + (1 - shares) * images[partners.to(images.device)], partners, weights)


def _mean_loss(logits: Tensor, labels: Tensor, draw: _Draw) -> Tensor:
    losses = functional.cross_entropy(logits, labels, reduction="none")
    if draw.partners is not None and draw.weights is not None:
        of_partners = functional.cross_entropy(logits, labels[draw.partners.to(labels.device)], reduction="none")
        weights = draw.weights.to(logits)
        losses = weights * losses + (1 - weights) * of_partners
    return losses.mean()


def _predict_all(predict: Callable[[Tensor], Tensor], images: Tensor, batch_size: int) -> Tensor:
    """Logits of all images, (n_images, n_classes) float64."""
    return torch.cat([predict(batch).detach().double() for batch in images.split(batch_size)])
