"""What labels say of the logits: loss, accuracy and margins of the right class."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from flatselect.errors import DataError
from flatselect.measures.chunks import iterate_chunks

LABEL_SCORE_NAMES = frozenset({"loss", "accuracy", "label_margin_q10", "label_margin_q50"})


def check_labels(labels: Tensor | None, n_images: int, n_classes: int, asked_by: Collection[str]) -> Tensor:
    """The labels as int64.

    Args:
        labels: What was given.
        n_images: Expected length.
        n_classes: What each label must be below.
        asked_by: Names of the measures that need them, for the message.

    Raises:
        DataError: No labels, or not one class index an image.
    """
    names = ", ".join(asked_by)
    if labels is None:
        raise DataError(f"no labels were given; {names} need one an image: give labels, or leave these out")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(f"the labels are of {labels.dtype}; expected whole numbers, the index of each image's class")
    if labels.shape != (n_images,):
        raise DataError(f"the labels are of shape {tuple(labels.shape)}; expected {(n_images,)}, one an image")
    labels = labels.long()
    if n_images and not 0 <= labels.min() <= labels.max() < n_classes:
        raise DataError(
            f"the labels lie between {labels.min().item()} and {labels.max().item()}; expected 0 to {n_classes - 1}, "
            f"the network's {n_classes} classes"
        )
    return labels


def score_labels(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, accuracy and margins by name, over all images.

    - loss: mean cross-entropy, −ln p_label, in nats;
    - accuracy: share of images whose largest logit (the first, of equal ones) is the label's;
    - label_margin_q10, label_margin_q50: quantiles over images of z_label − max_{c ≠ label} z_c, in units of the
      logits, negative where the network is wrong; nan with one class.

    Args:
        logits: z, (n_images, n_classes).
        labels: (n_images,) int64, each below n_classes.
    """
    n_images, n_classes = logits.shape
    losses, margins = (logits.new_empty(n_images, dtype=torch.float64) for _ in range(2))
    n_right = 0
    for chunk in iterate_chunks(n_images, 3 * n_classes):
        z, label = logits[chunk].double(), labels[chunk, None]
        z_label = z.gather(1, label)[:, 0]
        z_others = z.scatter(1, label, -torch.inf)
        # ln(1 + e^x) of the others' lead x keeps a loss of 1e-40, where ln Σ e^z − z_label rounds to 0.
        lead = z_others.logsumexp(1) - z_label
        losses[chunk] = torch.logaddexp(torch.zeros_like(lead), lead)
        margins[chunk] = z_label - z_others.amax(1)
        n_right += int((z.argmax(1) == labels[chunk]).sum())
    q10, q50 = (
        (math.nan, math.nan) if n_classes == 1 else torch.quantile(margins, margins.new_tensor([0.1, 0.5])).tolist()
    )
    return {
        "loss": losses.mean().item(),
        "accuracy": n_right / n_images,
        "label_margin_q10": q10,
        "label_margin_q50": q50,
    }
