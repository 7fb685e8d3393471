"""The Davies-Bouldin index against scikit-learn's, and where the two differ on purpose."""

import math

import pytest
import torch
from sets import make_set
from sklearn.metrics import davies_bouldin_score

from flatselect.measures.davies_bouldin import compute_davies_bouldin


@pytest.mark.parametrize(("n_images", "n_classes", "n_features"), [(40, 4, 5), (30, 2, 1), (200, 10, 64)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_scikit_learns(n_images: int, n_classes: int, n_features: int, dtype: torch.dtype) -> None:
    images = make_set(n_images, n_classes, n_features)
    features = images.features.to(dtype)
    expected = davies_bouldin_score(features.double(), images.labels)
    assert compute_davies_bouldin(features, images.labels) == pytest.approx(expected, rel=1e-10)


def test_only_classes_that_have_images_count() -> None:
    images = make_set()
    labels = images.labels * 3 + 100
    expected = davies_bouldin_score(images.features, labels)
    assert compute_davies_bouldin(images.features, labels) == pytest.approx(expected, rel=1e-10)


def test_neither_scale_nor_place_matters() -> None:
    images = make_set()
    plain = compute_davies_bouldin(images.features, images.labels)
    moved = compute_davies_bouldin(images.features * 1e-12, images.labels)
    assert moved == pytest.approx(plain, rel=1e-10)
    assert compute_davies_bouldin(images.features + 1e5, images.labels) == pytest.approx(plain, rel=1e-9)


def test_points_that_are_their_centroids_are_perfectly_tight() -> None:
    assert compute_davies_bouldin(torch.tensor([[1.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])) == 0


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.randn(5, 2), torch.zeros(5, dtype=torch.int64)),  # one class
        (torch.full((7, 3), 0.1), torch.tensor([0, 0, 0, 1, 1, 1, 1])),  # collapsed
        (torch.tensor([[-1.0], [1.0], [-2.0], [2.0], [9.0]]), torch.tensor([0, 0, 1, 1, 2])),  # two alike
    ],
)
def test_without_two_centroids_apart_it_is_not_defined(features: torch.Tensor, labels: torch.Tensor) -> None:
    assert math.isnan(compute_davies_bouldin(features, labels))
