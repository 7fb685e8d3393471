"""Soft rank of the classifier's Hessian and Takeuchi's trace, both from Kronecker factors."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flatselect.measures.chunks import iterate_chunks

# λ as a share of the Hessian's largest eigenvalue: with a share, rescaling h or the curvature changes nothing.
_DAMPING_SHARE = 1e-3


@dataclass(frozen=True)
class HeadCurvature:
    """What the curvature of the mean cross-entropy in the classifier's weight W says of the effective dimension.

    "Flatness After All?" (arXiv 2506.17809), with the Hessian H and the covariance of the gradients C replaced by

        H ≈ Λ̄ ⊗ Σ,  C ≈ D̄ ⊗ Σ,    Λ̄ = E[diag(p) − ppᵀ],  D̄ = E[(p − y)(p − y)ᵀ],  Σ = E[hhᵀ]

    (y one-hot), means over images. This is an approximation: E of a product by a product of E's. It is exact for one
    image, and where p (for C: p and y) and h are independent over the images; trained networks are neither, for h is
    what p is computed from. λ = 10⁻³ × the largest eigenvalue of Λ̄ ⊗ Σ.

    Attributes:
        soft_rank: Tr H(H + λI)⁻¹, between 0 and the number of weights; 0 where H = 0.
        takeuchi: Tr (H + λI)⁻¹C, Takeuchi's criterion; equal to the soft rank where the labels follow p, above it
            where the network is surer than it is right. 0 where C = 0; nan where H = 0 and C is not, and without
            labels. Both are nan where Σ overflows float64.
    """

    soft_rank: float
    takeuchi: float


def compute_head_curvature(logits: Tensor, features: Tensor, labels: Tensor | None = None) -> HeadCurvature:
    """The curvature over all images.

    Neither product is formed: with a_i, u_i the eigenvalues and eigenvectors of Λ̄, b_j those of Σ, d_i = u_iᵀ D̄ u_i,

        soft rank = Σ_ij a_i b_j / (a_i b_j + λ),    Takeuchi = Σ_ij d_i b_j / (a_i b_j + λ),    λ = 10⁻³ max a · max b.

    Args:
        logits: (n_images, n_classes).
        features: h, input of the classifier, (n_images, n_features).
        labels: (n_images,) int64, each below n_classes.
    """
    covariance, moment = _compute_softmax_covariance(logits), _compute_second_moment(features)
    residuals = None if labels is None else _compute_residual_moment(logits, labels)
    covariance_trace, moment_trace = covariance.trace().item(), moment.trace().item()
    if not math.isfinite(moment_trace):
        return HeadCurvature(soft_rank=math.nan, takeuchi=math.nan)
    if min(covariance_trace, moment_trace) == 0:
        no_residual = residuals is not None and min(residuals.trace().item(), moment_trace) == 0
        return HeadCurvature(soft_rank=0.0, takeuchi=0.0 if no_residual else math.nan)
    # Brought to trace 1 before they are decomposed, a saturated network's 1e-300 does not underflow in a product.
    class_values, class_vectors = torch.linalg.eigh(covariance / covariance_trace)
    feature_values = torch.linalg.eigvalsh(moment / moment_trace).clamp_min(0)
    a, b = class_values.clamp_min(0) / class_values[-1], feature_values / feature_values[-1]
    ratios = (b / (a[:, None] * b + _DAMPING_SHARE)).sum(1)  # (n_classes,)
    takeuchi = math.nan
    if residuals is not None:
        d = (class_vectors * (residuals / covariance_trace @ class_vectors)).sum(0) / class_values[-1]
        takeuchi = (d * ratios).sum().item()
    return HeadCurvature(soft_rank=(a * ratios).sum().item(), takeuchi=takeuchi)


def _compute_softmax_covariance(logits: Tensor) -> Tensor:
    """Λ̄ = E[diag(p) − ppᵀ], (n_classes, n_classes) float64.

    The rows sum to 0: the diagonal is minus the sum of the others, all of one sign, where p_c(1 − p_c) would be 0 once
    p_c rounds to 1.
    """
    n_images, n_classes = logits.shape
    products = logits.new_zeros((n_classes, n_classes), dtype=torch.float64)
    for chunk in iterate_chunks(n_images, 2 * n_classes):
        p = logits[chunk].double().softmax(1)
        products += p.mT @ p
    products.fill_diagonal_(0)
    return (products.sum(1).diag() - products) / n_images


def _compute_residual_moment(logits: Tensor, labels: Tensor) -> Tensor:
    """D̄ = E[(p − y)(p − y)ᵀ], (n_classes, n_classes) float64; p_label − 1 is minus the sum of the others, as above."""
    n_images, n_classes = logits.shape
    moment = logits.new_zeros((n_classes, n_classes), dtype=torch.float64)
    for chunk in iterate_chunks(n_images, 3 * n_classes):
        label = labels[chunk, None]
        others = logits[chunk].double().softmax(1).scatter(1, label, 0.0)
        residuals = others.scatter(1, label, -others.sum(1, keepdim=True))
        moment += residuals.mT @ residuals
    return moment / n_images


def _compute_second_moment(features: Tensor) -> Tensor:
    """Σ = E[hhᵀ], (n_features, n_features) float64."""
    n_images, n_features = features.shape
    moment = features.new_zeros((n_features, n_features), dtype=torch.float64)
    for chunk in iterate_chunks(n_images, n_features):
        h = features[chunk].double()
        moment += h.mT @ h
    return moment / n_images
