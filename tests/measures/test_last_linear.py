"""Flatness of the last linear layer against autograd's Hessian, long decimals, and its laws."""

from decimal import Decimal, localcontext

import pytest
import torch
from sets import ImageSet, differentiate_loss, make_set
from torch import Tensor

from flatselect.measures.last_linear import compute_last_linear_flatness, compute_standard_deviations


def by_autograd(images: ImageSet) -> float:
    """Σ_cc' ⟨W_c, W_c'⟩ Tr H_cc' from the full Hessian."""
    n_classes, n_features = images.weight.shape
    hessian = differentiate_loss(images)[1].reshape(n_classes, n_features, n_classes, n_features)
    traces = torch.einsum("cfdf->cd", hessian)
    return (traces * (images.weight @ images.weight.mT)).sum().item()


def flatness(images: ImageSet, *, normalize: bool = False) -> float:
    return compute_last_linear_flatness(images.logits, images.features, images.weight, normalize=normalize)


def in_decimals(logits: Tensor, features: Tensor, weight: Tensor) -> float:
    """‖h‖² (Σ_c p_c ‖W_c‖² − ‖W̄‖²) of one image with digits enough for the difference."""
    with localcontext() as context:
        context.prec = 1000
        powers = [Decimal(z).exp() for z in logits.tolist()]
        p = [power / sum(powers) for power in powers]
        rows = [[Decimal(w) for w in row] for row in weight.tolist()]
        mean = [sum(p_c * row[f] for p_c, row in zip(p, rows, strict=True)) for f in range(len(rows[0]))]
        variance = sum(p_c * sum(w * w for w in row) for p_c, row in zip(p, rows, strict=True))
        variance -= sum(w * w for w in mean)
        return float(variance * sum(Decimal(h) ** 2 for h in features.tolist()))


@pytest.mark.parametrize(("n_images", "n_classes", "n_features"), [(40, 4, 5), (1, 3, 2), (7, 2, 1), (5, 6, 3)])
def test_it_is_the_sum_over_autograds_hessian(n_images: int, n_classes: int, n_features: int) -> None:
    images = make_set(n_images, n_classes, n_features)
    assert flatness(images) == pytest.approx(by_autograd(images), rel=1e-8)


def test_labels_do_not_enter_the_hessian() -> None:
    images = make_set()
    assert by_autograd(images) == pytest.approx(by_autograd(images._replace(labels=images.labels * 0)), rel=1e-12)


def test_normalized_is_the_sum_over_autograds_hessian_of_the_standardised_network() -> None:
    images = make_set()
    deviations = images.features.std(0, correction=0)
    standardised = images._replace(features=images.features / deviations, weight=images.weight * deviations)
    assert flatness(images, normalize=True) == pytest.approx(by_autograd(standardised), rel=1e-8)


def test_only_normalized_is_blind_to_rescaled_features() -> None:
    images = make_set()
    factors = torch.tensor([1e-3, 0.3, 1.0, 7.0, 1e4], dtype=torch.float64)
    rescaled = images._replace(features=images.features * factors, weight=images.weight / factors)
    assert flatness(rescaled, normalize=True) == pytest.approx(flatness(images, normalize=True), rel=1e-9)
    assert flatness(rescaled) > 10 * flatness(images)


def test_one_common_factor_of_all_features_changes_neither() -> None:
    images = make_set()
    rescaled = images._replace(features=images.features * 7, weight=images.weight / 7)
    assert flatness(rescaled) == pytest.approx(flatness(images), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_a_feature_that_does_not_vary_is_left_as_it_is(value: float) -> None:
    images = make_set(n_images=41)
    images.features[:, 2] = value
    deviations = images.features.std(0, correction=0)
    deviations[2] = 1
    standardised = images._replace(features=images.features / deviations, weight=images.weight * deviations)
    assert compute_standard_deviations(images.features)[2] == 0
    assert flatness(images, normalize=True) == pytest.approx(flatness(standardised), rel=1e-12)


@pytest.mark.parametrize("lead", [3.0, 100.0, 700.0, 800.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_saturated_logits_keep_every_digit(lead: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, lead, 1.5, lead - 90]], dtype=dtype)
    features, weight = torch.tensor([[0.7, -2.0]], dtype=dtype), make_set(n_features=2).weight.to(dtype)
    expected = in_decimals(logits[0], features[0], weight)
    assert compute_last_linear_flatness(logits, features, weight) == pytest.approx(expected, rel=1e-12)
    assert (expected > 0) == (lead < 1000)


def test_what_all_rows_have_in_common_drowns_nothing() -> None:
    images = make_set()
    shifted = images._replace(weight=images.weight + 2.0**30)
    same = images._replace(weight=shifted.weight - 2.0**30)
    assert flatness(shifted) == pytest.approx(flatness(same), rel=1e-12)


def test_one_class_is_flat() -> None:
    images = make_set(n_classes=1)
    assert flatness(images) == flatness(images, normalize=True) == 0
