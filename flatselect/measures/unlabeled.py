"""What images without labels, from where the network will be used, say of it."""

import torch
from torch import Tensor

from flatselect.errors import DataError

UNLABELED_NAMES = (
    "unlabeled_confidence",
    "unlabeled_gini",
    "unlabeled_nuclear_norm",
    "unlabeled_threshold_score",
)


def measure_unlabeled(logits: Tensor, training_logits: Tensor, training_labels: Tensor) -> dict[str, float]:
    """Measures of a network's logits z on n unlabelled images, with p = softmax(z), by the names of `UNLABELED_NAMES`.

    - unlabeled_confidence: mean of max_c p_c;
    - unlabeled_gini: mean of 1 − Σ_c p_c²;
    - unlabeled_nuclear_norm: ‖P‖_* / √(n · min(n, C)) in (0, 1], P the (n, C) matrix of probabilities: large where
      predictions are sure and of all classes (Deng et al. 2023, "Confidence and dispersity speak");
    - unlabeled_threshold_score: the share of unlabelled images whose confidence is at least the threshold below which
      as many training images lie as are wrong, 0 if all are (average thresholded confidence, ATC; Garg et al. 2022, who
      take the threshold from held-out images: of training images it is too good, how much is for a calibration to say).

    Args:
        logits: z, (n_unlabeled, n_classes).
        training_logits: Of training images, (n_images, n_classes).
        training_labels: Of the same, (n_images,).

    Raises:
        DataError: There are no unlabelled or no training images.
    """
    if not len(logits) or not len(training_logits):
        raise DataError(f"{len(logits)} unlabelled and {len(training_logits)} training images; expected some of each")
    p = logits.double().softmax(1)
    confidence = p.amax(1)
    n, n_classes = p.shape
    of_training = training_logits.double().softmax(1).amax(1).sort().values
    n_wrong = int((training_logits.argmax(1) != training_labels.to(training_logits.device)).sum())
    # Where all are wrong, no image is sure enough.
    is_sure = confidence >= (of_training[n_wrong] if n_wrong < len(of_training) else torch.inf)
    return {
        "unlabeled_confidence": confidence.mean().item(),
        "unlabeled_gini": (1 - p.square().sum(1)).mean().item(),
        "unlabeled_nuclear_norm": (torch.linalg.matrix_norm(p, "nuc") / (n * min(n, n_classes)) ** 0.5).item(),
        "unlabeled_threshold_score": is_sure.double().mean().item(),
    }
