"""Companions that need the logits and features of all images at once, by name."""

import math
from collections.abc import Collection

from torch import Tensor

from flatselect.errors import ConfigError, DataError
from flatselect.measures.chunks import iterate_chunks
from flatselect.measures.davies_bouldin import compute_davies_bouldin
from flatselect.measures.head_curvature import compute_head_curvature
from flatselect.measures.labelled import LABEL_SCORE_NAMES, check_labels, score_labels
from flatselect.measures.last_linear import compute_last_linear_flatness

SET_COMPANION_NAMES = ("last_linear_flatness", "last_linear_flatness_normalized", "head_soft_rank")
LABEL_COMPANION_NAMES = ("loss", "accuracy", "label_margin_q10", "label_margin_q50", "head_tic", "davies_bouldin")


def compute_set_companions(
    names: Collection[str], logits: Tensor, features: Tensor, classifier_weight: Tensor, labels: Tensor | None
) -> dict[str, float]:
    """The companions that were asked for, in the order of `SET_COMPANION_NAMES` and `LABEL_COMPANION_NAMES`.

    Computed in float64 whatever is given, from a chunk of images at a time; besides the chunk, what is held is of size
    n_classes², n_features², n_classes × n_features or n_images. A companion that is not defined is nan: each says
    when, and all are with no images, with a number that is not finite, or where the value overflows float64.

    Args:
        names: Of `SET_COMPANION_NAMES` and, where there are labels, `LABEL_COMPANION_NAMES`.
        logits: (n_images, n_classes).
        features: Input of the classifier, (n_images, n_features).
        classifier_weight: (n_classes, n_features).
        labels: Class of each image, (n_images,) of an integer type; looked at only for names that need them.

    Raises:
        ConfigError: A name that is none of these.
        DataError: Logits, features and weight are not of the same images, classes and features; or a name needs
            labels, and there is not one valid label an image.
    """
    unknown = sorted(set(names) - {*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES})
    if unknown:
        raise ConfigError(
            f"{', '.join(map(repr, unknown))} among the companions; expected names of "
            f"{', '.join((*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES))}"
        )
    logits, features, weight = logits.detach(), features.detach(), classifier_weight.detach()
    if len(features) != len(logits) or weight.shape != (logits.shape[1], features.shape[1]):
        raise DataError(
            f"logits {tuple(logits.shape)}, features {tuple(features.shape)} and weight {tuple(weight.shape)}; "
            "expected (n_images, n_classes), (n_images, n_features) and (n_classes, n_features)"
        )
    labelled = [name for name in LABEL_COMPANION_NAMES if name in names]
    targets = check_labels(labels, len(logits), logits.shape[1], labelled).to(logits.device) if labelled else None
    values = dict.fromkeys([*(name for name in SET_COMPANION_NAMES if name in names), *labelled], math.nan)
    if len(logits) and all(_is_finite(tensor) for tensor in (logits, features, weight)):
        values.update(_compute(values, logits, features, weight, targets))
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


def _compute(
    names: Collection[str], logits: Tensor, features: Tensor, weight: Tensor, labels: Tensor | None
) -> dict[str, float]:
    values = {}
    for name, normalize in (("last_linear_flatness", False), ("last_linear_flatness_normalized", True)):
        if name in names:
            values[name] = compute_last_linear_flatness(logits, features, weight, normalize=normalize)
    if "head_soft_rank" in names or "head_tic" in names:
        curvature = compute_head_curvature(logits, features, labels if "head_tic" in names else None)
        values.update(head_soft_rank=curvature.soft_rank, head_tic=curvature.takeuchi)
    if labels is not None and not LABEL_SCORE_NAMES.isdisjoint(names):
        values.update(score_labels(logits, labels))
    if labels is not None and "davies_bouldin" in names:
        values["davies_bouldin"] = compute_davies_bouldin(features, labels)
    return {name: value for name, value in values.items() if name in names}


def _is_finite(tensor: Tensor) -> bool:
    return all(bool(tensor[chunk].isfinite().all()) for chunk in iterate_chunks(len(tensor), tensor.shape[1]))
