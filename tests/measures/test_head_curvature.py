"""Soft rank and Takeuchi's trace against the dense matrices, by autograd where the factorisation is exact."""

import math

import pytest
import torch
from sets import ImageSet, differentiate_loss, make_set
from torch import Tensor

from flatselect.measures.head_curvature import compute_head_curvature


def trace_ratio(hessian: Tensor, numerator: Tensor) -> float:
    """Tr (H + λI)⁻¹ N, λ = 1e-3 × the largest eigenvalue."""
    damping = 1e-3 * torch.linalg.eigvalsh(hessian)[-1] * torch.eye(len(hessian), dtype=torch.float64)
    return torch.linalg.solve(hessian + damping, numerator).trace().item()


def cross(images: ImageSet, n_features: int) -> ImageSet:
    """Every image's logits and label with each of some features: p and h are independent over the images."""
    n_images = len(images.logits)
    features = make_set(n_features, n_features=images.features.shape[1], seed=1).features
    return ImageSet(
        images.logits.repeat_interleave(n_features, 0),
        features.repeat(n_images, 1),
        images.weight,
        images.labels.repeat_interleave(n_features, 0),
    )


def test_for_one_image_it_is_exact() -> None:
    images = make_set(n_images=1)
    gradient, hessian = differentiate_loss(images)
    curvature = compute_head_curvature(images.logits, images.features, images.labels)
    assert curvature.soft_rank == pytest.approx(trace_ratio(hessian, hessian), rel=1e-8)
    assert curvature.takeuchi == pytest.approx(trace_ratio(hessian, gradient.outer(gradient)), rel=1e-8)


def test_where_probabilities_and_features_are_independent_it_is_exact() -> None:
    images = cross(make_set(n_images=6), n_features=7)
    _, hessian = differentiate_loss(images)
    gradients = torch.stack(
        [differentiate_loss(ImageSet(*(part[[i]] for part in images[:2]), images.weight, images.labels[[i]]))[0]
         for i in range(len(images.logits))]
    )  # fmt: skip
    curvature = compute_head_curvature(images.logits, images.features, images.labels)
    assert curvature.soft_rank == pytest.approx(trace_ratio(hessian, hessian), rel=1e-8)
    covariance = gradients.mT @ gradients / len(gradients)
    assert curvature.takeuchi == pytest.approx(trace_ratio(hessian, covariance), rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_what_the_dense_products_of_the_factors_give(dtype: torch.dtype) -> None:
    images = make_set(n_classes=3)
    logits, features = images.logits.to(dtype), images.features.to(dtype)
    p, h = logits.double().softmax(1), features.double()
    residuals = p - torch.nn.functional.one_hot(images.labels, 3)
    moment = h.mT @ h / len(h)
    hessian = torch.kron(p.mean(0).diag() - p.mT @ p / len(p), moment)
    covariance = torch.kron(residuals.mT @ residuals / len(p), moment)
    curvature = compute_head_curvature(logits, features, images.labels)
    assert curvature.soft_rank == pytest.approx(trace_ratio(hessian, hessian), rel=1e-8)
    assert curvature.takeuchi == pytest.approx(trace_ratio(hessian, covariance), rel=1e-8)
    # An approximation: p is computed from h.
    exact = differentiate_loss(images)[1]
    assert curvature.soft_rank != pytest.approx(trace_ratio(exact, exact), rel=1e-3)


def test_labels_that_follow_the_probabilities_make_takeuchi_the_soft_rank() -> None:
    eighths = torch.tensor([[4, 2, 2], [1, 6, 1], [0, 3, 5], [8, 0, 0]])
    labels = torch.cat([torch.arange(3).repeat_interleave(row) for row in eighths])
    logits = (eighths / 8).double().log().clamp_min(-2000).repeat_interleave(8, 0)
    features = make_set(n_images=32).features
    curvature = compute_head_curvature(logits, features, labels)
    assert 1 < curvature.soft_rank < 3 * features.shape[1]
    assert curvature.takeuchi == pytest.approx(curvature.soft_rank, rel=1e-10)


def test_overconfidence_puts_takeuchi_above_the_soft_rank() -> None:
    images = make_set(n_images=200)
    labels = torch.distributions.Categorical(logits=images.logits).sample()
    curvature = compute_head_curvature(3 * images.logits, images.features, labels)
    assert curvature.takeuchi > 1.5 * curvature.soft_rank


@pytest.mark.parametrize("factor", [1e-100, 1e-3, 1e4, 1e100])
def test_the_scale_of_the_features_changes_nothing(factor: float) -> None:
    images = make_set()
    plain = compute_head_curvature(images.logits, images.features, images.labels)
    scaled = compute_head_curvature(images.logits, images.features * factor, images.labels)
    assert scaled.soft_rank == pytest.approx(plain.soft_rank, rel=1e-10)
    assert scaled.takeuchi == pytest.approx(plain.takeuchi, rel=1e-10)


@pytest.mark.parametrize("lead", [0.5, 100.0, 300.0, 700.0])
def test_one_image_of_two_classes_has_soft_rank_one_however_saturated(lead: float) -> None:
    logits, features = torch.tensor([[0.0, lead]], dtype=torch.float64), torch.ones(1, 3)
    rest = 1 / (1 + math.exp(lead))
    right = compute_head_curvature(logits, features, torch.tensor([1]))
    wrong = compute_head_curvature(logits, features, torch.tensor([0]))
    assert right.soft_rank == wrong.soft_rank == pytest.approx(1 / 1.001, rel=1e-12)
    # D̄/Λ̄ is s²/(s(1 − s)) where right, (1 − s)²/(s(1 − s)) where wrong. (Of s = 1e-304 the square underflows.)
    assert right.takeuchi == pytest.approx(rest / (1 - rest) / 1.001, rel=1e-12, abs=1e-300)
    assert wrong.takeuchi == pytest.approx((1 - rest) / rest / 1.001, rel=1e-12)


def test_without_curvature_the_soft_rank_is_zero() -> None:
    logits, features = torch.tensor([[0.0, 800.0, 1.0]]), torch.ones(1, 3)
    assert compute_head_curvature(logits, features, torch.tensor([1])).soft_rank == 0
    assert compute_head_curvature(logits, features, torch.tensor([1])).takeuchi == 0
    assert math.isnan(compute_head_curvature(logits, features, torch.tensor([0])).takeuchi)
    no_features = compute_head_curvature(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]))
    one_class = compute_head_curvature(torch.ones(2, 1), torch.ones(2, 3), torch.tensor([0, 0]))
    for curvature in (no_features, one_class):
        assert (curvature.soft_rank, curvature.takeuchi) == (0, 0)


def test_without_labels_there_is_no_takeuchi() -> None:
    images = make_set()
    curvature = compute_head_curvature(images.logits, images.features)
    assert curvature.soft_rank == compute_head_curvature(images.logits, images.features, images.labels).soft_rank
    assert math.isnan(curvature.takeuchi)


def test_features_whose_squares_overflow_have_no_soft_rank() -> None:
    assert math.isnan(compute_head_curvature(make_set().logits, make_set().features * 1e200).soft_rank)
