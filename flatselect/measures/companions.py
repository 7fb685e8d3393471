"""The companions that flatness is never reported without, image by image and summarised over images.

Flatness falls to 0 as logits grow, right or wrong; these say how sure the network is, so that the two can be told
apart. None of them looks at a label.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flatselect.measures.softmax_split import SoftmaxSplit

COMPANION_NAMES = (
    "mean_confidence",
    "confidence_q10",
    "gini",
    "logit_variance",
    "margin_q10",
    "margin_q50",
    "temperature_flat_ratio",
    "head_frobenius_norm",
    "feature_norm",
)


@dataclass(frozen=True)
class ImageCompanions:
    """Per-image values of one batch, each (n_images,) float64 on the CPU.

    Attributes:
        confidence: Largest softmax probability.
        gini: 1 − Σ_c p_c².
        logit_variance: (1/C) Σ_c (z_c − z̄)², over classes without weights: under z → t·z it is multiplied by t²
            exactly, as the head's weights are inside flatness. (Weighted by p it would hold gini's factor again.)
        margin: Largest logit − second largest; nan where there is one class only.
        feature_norm: ‖h‖₂ of the classifier's input.
        n_features: Length of h.
    """

    confidence: Tensor
    gini: Tensor
    logit_variance: Tensor
    margin: Tensor
    feature_norm: Tensor
    n_features: int

    @classmethod
    def of(cls, logits: Tensor, features: Tensor, split: SoftmaxSplit) -> "ImageCompanions":
        """Measures one batch.

        Args:
            logits: (n_images, n_classes).
            features: Input of the classifier, (n_images, n_features).
            split: `split_softmax(logits)`.
        """
        z = logits.detach().double()
        if z.shape[1] == 1:
            margin = torch.full_like(z[:, 0], math.nan)
        else:
            largest = z.topk(2, dim=1).values
            margin = largest[:, 0] - largest[:, 1]
        return cls(
            confidence=split.top_probability.cpu(),
            gini=split.gini.cpu(),
            logit_variance=z.var(1, correction=0).cpu(),
            margin=margin.cpu(),
            feature_norm=features.detach().norm(dim=1, dtype=torch.float64).cpu(),
            n_features=features.shape[1],
        )

    @classmethod
    def join(cls, parts: Sequence["ImageCompanions"]) -> "ImageCompanions":
        """The parts' images, one part after the other."""
        return cls(
            confidence=torch.cat([part.confidence for part in parts]),
            gini=torch.cat([part.gini for part in parts]),
            logit_variance=torch.cat([part.logit_variance for part in parts]),
            margin=torch.cat([part.margin for part in parts]),
            feature_norm=torch.cat([part.feature_norm for part in parts]),
            n_features=parts[0].n_features,
        )


def summarise_companions(
    images: ImageCompanions, relative_gap_flatness: float, classifier_weight: Tensor
) -> dict[str, float]:
    """The companions over all images, by the names of `COMPANION_NAMES`.

    `temperature_flat_ratio` = κ / (gini · logit_variance), each a mean over images. With two classes κ = p(1 − p)·
    ‖T_1 − T_2‖² and gini = 2p(1 − p), T linear in the head's weights: the ratio does not change under z → t·z. With
    more, κ/gini is a mean over pairs of classes weighted by p_c·p_c', which changes little. nan where gini or the
    variance is 0.

    Args:
        images: Per-image values, all images.
        relative_gap_flatness: κ, mean over the same images.
        classifier_weight: W, (n_classes, n_features).
    """
    gini, variance = images.gini.mean().item(), images.logit_variance.mean().item()
    margins = torch.quantile(images.margin, images.margin.new_tensor([0.1, 0.5])).tolist()
    return {
        "mean_confidence": images.confidence.mean().item(),
        "confidence_q10": torch.quantile(images.confidence, 0.1).item(),
        "gini": gini,
        "logit_variance": variance,
        "margin_q10": margins[0],
        "margin_q50": margins[1],
        "temperature_flat_ratio": relative_gap_flatness / gini / variance if gini * variance > 0 else math.nan,
        "head_frobenius_norm": classifier_weight.detach().double().norm().item(),
        "feature_norm": images.feature_norm.mean().item(),
    }
