"""Do networks agree on images without labels? Where they do not, at most one of them is right."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flatselect.records import EpochMeasurement
from flatselect.selection.measuring import Classes, MeasuredNetwork

AGREEMENT = "unlabeled_agreement"
LEAD = "unlabeled_agreement_lead"


def add_agreement(networks: Sequence[MeasuredNetwork]) -> list[EpochMeasurement]:
    """The measurements, with two companions more where there are unlabelled images and two networks.

    `unlabeled_agreement` is the share of unlabelled images on which a network and another predict the same class, mean
    over the others; `unlabeled_agreement_lead` is this less the mean of all networks.
    """
    classes = [network.unlabeled_classes for network in networks]
    predicted = [found for found in classes if found is not None]
    if len(predicted) < len(networks) or len(predicted) < 2:
        return [network.measurement for network in networks]
    return [
        replace(network.measurement, companions=network.measurement.companions | companions)
        for network, companions in zip(networks, make_agreement_companions(np.stack(predicted)), strict=True)
    ]


def make_agreement_companions(classes: Classes) -> list[dict[str, float]]:
    """The two companions of each of at least two networks, by their predicted classes (n_networks, n_images)."""
    agreements = compute_agreement(classes)
    mean = sum(agreements) / len(agreements)
    return [{AGREEMENT: agreement, LEAD: agreement - mean} for agreement in agreements]


def compute_agreement(classes: Classes) -> list[float]:
    """Mean share of images on which each network agrees with another, of predicted classes (n_networks, n_images)."""
    n_networks, n_images = classes.shape
    columns = np.arange(n_images)
    votes = np.zeros((int(classes.max()) + 1, n_images), dtype=np.int64)
    for row in classes:
        votes[row, columns] += 1
    return [float((votes[row, columns] - 1).mean() / (n_networks - 1)) for row in classes]
