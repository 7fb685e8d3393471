"""Kernel ridge regression on pixels, against a fit for every image that is left out."""

import pytest
import torch
from torch.nn import functional

from flatselect.data.digits import load_digits
from flatselect.measures.pixel_kernel import measure_pixel_kernel


@pytest.fixture(scope="module")
def digits():
    part = load_digits("train")
    return part.images("cpu")[:60], part.labels[:60]


def fit_without_each(images: torch.Tensor, labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """What is said of each image by a fit of all others, (n_images, n_classes)."""
    pixels = images.flatten(1).double()
    distances = (pixels[:, None] - pixels).square().sum(2)
    n = len(labels)
    others_of = [[j for j in range(n) if j != i] for i in range(n)]
    median = torch.cat([distances[i, others] for i, others in enumerate(others_of)]).median()
    kernel = torch.exp(-distances / median)
    targets = torch.eye(n_classes, dtype=torch.float64)[labels] - 1 / n_classes
    said = []
    for i, others in enumerate(others_of):
        penalised = kernel[others][:, others] + 0.1 * torch.eye(n - 1, dtype=torch.float64)
        said.append(kernel[i, others] @ torch.linalg.solve(penalised, targets[others]))
    return torch.stack(said)


def test_each_image_is_predicted_by_the_others_alone(digits):
    images, labels = digits
    said = fit_without_each(images, labels, 10)
    found = measure_pixel_kernel([(images, labels)], 10)
    targets = functional.one_hot(labels, 10).double() - 0.1
    assert found["pixel_kernel_accuracy"] == pytest.approx((said.argmax(1) == labels).double().mean().item())
    error = (said - targets).square().sum(1).mean().item()
    assert found["pixel_kernel_squared_error"] == pytest.approx(error, abs=1e-8)
    assert tuple(found) == ("pixel_kernel_accuracy", "pixel_kernel_squared_error")
    batches = list(zip(images.split(25), labels.split(25), strict=True))
    assert measure_pixel_kernel(batches, 10) == found


def test_wrong_labels_and_noise_lower_it_and_the_order_of_images_does_not(digits):
    images, labels = digits
    clean = measure_pixel_kernel([(images, labels)], 10)
    generator = torch.Generator().manual_seed(0)
    wrong = torch.where(torch.rand(60, generator=generator) < 0.3, (labels + 1) % 10, labels)
    noisy = images + 3 * torch.randn(images.shape, generator=generator)
    for harder in (measure_pixel_kernel([(images, wrong)], 10), measure_pixel_kernel([(noisy, labels)], 10)):
        assert harder["pixel_kernel_accuracy"] < clean["pixel_kernel_accuracy"] - 0.1
        assert harder["pixel_kernel_squared_error"] > clean["pixel_kernel_squared_error"]
    order = torch.randperm(60, generator=generator)
    assert measure_pixel_kernel([(images[order], labels[order])], 10) == pytest.approx(clean, abs=1e-8)
    scaled = measure_pixel_kernel([(-2 * images + 1, labels)], 10)
    assert scaled == pytest.approx(clean, abs=1e-6)


def test_large_images_are_averaged_down(digits):
    images, labels = digits
    larger = images.repeat_interleave(8, 2).repeat_interleave(8, 3)  # 64×64
    middle = images.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 32×32
    assert measure_pixel_kernel([(larger, labels)], 10) == measure_pixel_kernel([(middle, labels)], 10)


def test_sets_that_say_nothing():
    assert measure_pixel_kernel([(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))], 2) == {}
    same = measure_pixel_kernel([(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]))], 2)
    assert same["pixel_kernel_accuracy"] == 0  # of the three others, two are of the other class


@pytest.mark.parametrize("n_others", [0, 8])
def test_where_most_images_are_the_same_one_no_rounding_tells_them_apart(n_others):
    """Of a picture's copies, each is what the others are; of what is like nothing else, nothing is said: class 0."""
    generator = torch.Generator().manual_seed(0)
    copies = torch.randn(1, 3, 16, 16, generator=generator).expand(60, -1, -1, -1)
    images = torch.cat([copies, torch.randn(n_others, 3, 16, 16, generator=generator)])
    labels = torch.cat([torch.tensor([0, 1, 2, 2, 3, 3]).repeat(10), torch.ones(n_others, dtype=torch.int64)])
    targets = functional.one_hot(labels, 4).double() - 0.25
    said = (targets[:60].sum(0) - targets[:60]) / (59 + 0.1)
    error = torch.cat([said - targets[:60], targets[60:]]).square().sum(1).mean().item()
    found = measure_pixel_kernel([(images, labels)], 4)
    assert found["pixel_kernel_squared_error"] == pytest.approx(error, abs=1e-8)
    # Classes 2 and 3 have as many: of an image of either, the other class has one more.
    assert found["pixel_kernel_accuracy"] == 0
    images, labels = images.flip(0), labels.flip(0)
    assert measure_pixel_kernel([(images + 7.7, labels)], 4) == pytest.approx(found, abs=1e-8)


def test_classes_without_images_count_and_take_no_room(digits):
    """Labels may be numbers of persons or of products, up to a million, of which two thousand are looked at."""
    images, labels = digits[0], 7 * digits[1] + 3
    said = fit_without_each(images, labels, 700)
    found = measure_pixel_kernel([(images, labels)], 700)
    error = (said - functional.one_hot(labels, 700) + 1 / 700).square().sum(1).mean().item()
    assert found["pixel_kernel_squared_error"] == pytest.approx(error, abs=1e-8)
    assert found["pixel_kernel_accuracy"] == pytest.approx((said.argmax(1) == labels).double().mean().item())
    # As many columns would be 480 GB.
    assert measure_pixel_kernel([(images, labels)], 10**9) == pytest.approx(found, abs=0.01)
