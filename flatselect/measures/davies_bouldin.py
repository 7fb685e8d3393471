"""How well the classes are separated in feature space."""

import math

import torch
from torch import Tensor

from flatselect.measures.chunks import iterate_chunks


def compute_davies_bouldin(features: Tensor, labels: Tensor) -> float:
    """Davies-Bouldin index of the features, clustered by label: small where classes are tight and far apart (no unit).

    Davies and Bouldin 1979: with c_i the centroid of class i and s_i the mean distance of its images to c_i,

        mean over i of max_{j ≠ i} (s_i + s_j) / ‖c_i − c_j‖,

    over the classes that have images. As `sklearn.metrics.davies_bouldin_score`, but nan where scikit-learn gives 0,
    its best value, to classes that are not separated at all: where two centroids coincide. nan too with fewer than two
    classes.

    Args:
        features: (n_images, n_features).
        labels: (n_images,) int64, not negative.
    """
    present, cluster, sizes = labels.unique(return_inverse=True, return_counts=True)
    if len(present) < 2:
        return math.nan
    # Distances do not depend on the origin. With an image as the origin, features that are all alike are exactly 0,
    # and their centroids coincide however a mean is rounded.
    origin = features[0].double()
    centroids = origin.new_zeros((len(present), features.shape[1]))
    spreads = origin.new_zeros(len(present))
    chunks = iterate_chunks(len(features), 3 * features.shape[1])
    for chunk in chunks:
        centroids.index_add_(0, cluster[chunk], features[chunk].double() - origin)
    centroids /= sizes[:, None]
    for chunk in chunks:
        distances = (features[chunk].double() - origin - centroids[cluster[chunk]]).norm(dim=1)
        spreads.index_add_(0, cluster[chunk], distances)
    spreads /= sizes
    # From differences: the usual ‖a‖² + ‖b‖² − 2⟨a, b⟩ cancels where two centroids are close.
    separations = torch.cdist(centroids, centroids, compute_mode="donot_use_mm_for_euclid_dist")
    separations.fill_diagonal_(math.inf)  # a class is not compared with itself
    if bool((separations == 0).any()):
        return math.nan
    return ((spreads[:, None] + spreads) / separations).amax(1).mean().item()
