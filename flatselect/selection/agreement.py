"""Do networks agree on images without labels? Where they do not, at most one of them is right."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flatselect.records import EpochMeasurement
from flatselect.selection.measuring import Classes, MeasuredNetwork

AGREEMENT = "unlabeled_agreement"
LEAD = "unlabeled_agreement_lead"
WEIGHTED_AGREEMENT = "unlabeled_weighted_agreement"
# What does not fit its own training images says little: such networks share simple mistakes. At a tenth a network knows
# no more than that, and lower weights would be lost in rounding.
_WEIGHT_POWER = 8
_LEAST_SCORE = 0.1

Weights = npt.NDArray[np.floating[Any]]


def add_agreement(networks: Sequence[MeasuredNetwork]) -> list[EpochMeasurement]:
    """The measurements, with companions more where there are unlabelled images and two networks.

    Those of `make_agreement_companions`.
    """
    classes = [network.unlabeled_classes for network in networks]
    predicted = [found for found in classes if found is not None]
    measurements = [network.measurement for network in networks]
    if len(predicted) < len(networks) or len(predicted) < 2:
        return measurements
    scores = [measurement.train_score for measurement in measurements]
    return [
        replace(measurement, companions=measurement.companions | companions)
        for measurement, companions in zip(
            measurements, make_agreement_companions(np.stack(predicted), scores), strict=True
        )
    ]


def make_agreement_companions(classes: Classes, train_scores: Sequence[float]) -> list[dict[str, float]]:
    """Three companions of each of at least two networks.

    `unlabeled_agreement` is the share of unlabelled images on which a network and another predict the same class, mean
    over the others; `unlabeled_agreement_lead` is this less the mean of all networks; `unlabeled_weighted_agreement` is
    the mean weighted by the 8th power of the others' accuracy on their training images (of at least a tenth).

    Args:
        classes: Predicted, (n_networks, n_images).
        train_scores: Accuracies of the networks on their training images.
    """
    plain = compute_agreement(classes, np.ones(len(classes)))
    weighted = compute_agreement(classes, np.maximum(train_scores, _LEAST_SCORE) ** _WEIGHT_POWER)
    mean = sum(plain) / len(plain)
    return [
        {AGREEMENT: own, LEAD: own - mean, WEIGHTED_AGREEMENT: own_weighted}
        for own, own_weighted in zip(plain, weighted, strict=True)
    ]


def compute_agreement(classes: Classes, weights: Weights) -> list[float]:
    """Share of images on which each network i agrees with another, Σ_k≠i w_k a_ik / Σ_k≠i w_k.

    Args:
        classes: Predicted, (n_networks, n_images).
        weights: w > 0, (n_networks,).
    """
    columns = np.arange(classes.shape[1])
    votes = np.zeros((int(classes.max()) + 1, classes.shape[1]))
    for row, weight in zip(classes, weights, strict=True):
        votes[row, columns] += weight
    total = weights.sum()
    return [
        float((votes[row, columns].mean() - weight) / (total - weight))
        for row, weight in zip(classes, weights, strict=True)
    ]
