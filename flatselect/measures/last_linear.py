"""Relative flatness of the last linear layer, whose Hessian is known exactly and needs no labels."""

import torch
from torch import Tensor

from flatselect.measures.chunks import iterate_chunks


def compute_last_linear_flatness(
    logits: Tensor, features: Tensor, classifier_weight: Tensor, *, normalize: bool = False
) -> float:
    """Relative flatness κ of the classifier's weight W, a mean over images (no unit).

    Petzka et al. 2021 (NeurIPS). The Hessian of one image's cross-entropy in W is
    (diag(p) − ppᵀ) ⊗ hhᵀ, whatever the label; summed by the definition,

        κ = Σ_cc' ⟨W_c, W_c'⟩ Tr H_cc' = ‖h‖² (Σ_c p_c ‖W_c‖² − ‖Σ_c p_c W_c‖²) = ½ ‖h‖² Σ_cc' p_c p_c' ‖W_c − W_c'‖².

    The last form is a sum of what is not negative, computed as such: nothing cancels, neither when the softmax is
    saturated nor when the rows of W have much in common. κ is 0 with one class.

    With `normalize`, features are first divided by their standard deviation over the images and the columns of W
    multiplied by it, as in the authors' code: the same function of the input, and κ no longer changes when a feature
    that varies is rescaled and its weights are rescaled back. A feature that is the same on all images is left as it
    is, for there is nothing to divide by; rescaling it does change κ.

    Args:
        logits: (n_images, n_classes).
        features: h, input of the classifier, (n_images, n_features).
        classifier_weight: W, (n_classes, n_features).
        normalize: Whether to measure with features of standard deviation 1.
    """
    rows, scale = classifier_weight.double(), None
    if normalize:
        scale = compute_standard_deviations(features)
        scale = torch.where(scale > 0, scale, 1.0)
        rows = rows * scale
    # From differences: the usual ‖a‖² + ‖b‖² − 2⟨a, b⟩ cancels where two rows are close.
    squared_distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    total = logits.new_zeros((), dtype=torch.float64)
    for chunk in iterate_chunks(len(logits), 3 * logits.shape[1] + 2 * features.shape[1]):
        p, h = logits[chunk].double().softmax(1), features[chunk].double()
        if scale is not None:
            h = h / scale
        total += (h.square().sum(1) * ((p @ squared_distances) * p).sum(1)).sum()
    return total.item() / 2 / len(logits)


def compute_standard_deviations(features: Tensor) -> Tensor:
    """Population standard deviation of each feature over the images, (n_features,) float64.

    Exactly 0 for a feature that is the same on all images: deviations are taken from the first image before the mean
    is known, so that a rounded mean does not pass for a spread.

    Args:
        features: (n_images, n_features).
    """
    first = features[0].double()
    chunks = iterate_chunks(len(features), 3 * features.shape[1])
    mean, variance = torch.zeros_like(first), torch.zeros_like(first)
    for chunk in chunks:
        mean += (features[chunk].double() - first).sum(0) / len(features)
    for chunk in chunks:
        variance += (features[chunk].double() - first - mean).square().sum(0) / len(features)
    return variance.sqrt()
