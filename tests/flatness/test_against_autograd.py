"""The measure in float64 against the full Hessian by autograd, case by case."""

import pytest
import torch
from cases import CLOSED_FORM, MEASURED, REFUSED, make_case
from torch import Tensor, nn

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import ModelError
from flatselect.flatness import reference_flatness
from flatselect.flatness.head_search import find_head


class Logits(nn.Module):
    """Undoes a softmax or log-softmax, so that the reference sees logits."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model = model
        self.undo = torch.log if name.startswith("softmax") else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.undo(self.model(x.clone()))
        return output


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", MEASURED)
def test_equals_brute_force(name: str) -> None:
    model, images, case = make_case(name)
    measured = measure(model, images.clone())
    assert measured.layer == case.layer
    assert measured.exactness == case.exactness
    assert measured.method == case.method
    assert measured.n_images == 3
    labels = torch.tensor([0, 1, 1])
    names = case.layer.split(" + ")
    expected = [reference_flatness(Logits(model, name), images, labels, layer=f"model.{layer}") for layer in names]
    for layer, reference in zip(measured.layers, expected, strict=True):
        assert layer.relative_flatness == pytest.approx(reference.gauss_newton_flatness, rel=1e-8)
        assert layer.hessian_trace == pytest.approx(reference.gauss_newton_trace, rel=1e-8)
        assert layer.relative_flatness > 0
        is_hessian = (
            reference.relative_gap_flatness == pytest.approx(reference.gauss_newton_flatness, rel=1e-6),
            reference.hessian_trace == pytest.approx(reference.gauss_newton_trace, rel=1e-6),
        )
        # Conservative where a log-softmax stands in the tail: its curvature is no part of the loss's second derivative.
        if name != "softmax_of_pooled_convolution":
            assert is_hessian == ((True, True) if case.exactness == "hessian" else (False, False))
    assert [layer.layer for layer in measured.layers] == names
    total = sum(reference.gauss_newton_flatness for reference in expected)
    assert measured.relative_gap_flatness == pytest.approx(total, rel=1e-8)
    assert measured.hessian_trace == pytest.approx(sum(r.gauss_newton_trace for r in expected), rel=1e-8)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_by_name(name: str) -> None:
    model, images, case = make_case(name)
    with pytest.raises(UnsupportedHeadError) as refusal:
        measure(model, images)
    assert case.refusal in str(refusal.value)
    with pytest.raises(UnsupportedHeadError):
        find_head(model, images)


@pytest.mark.parametrize("name", ["conv_bn_relu", "silu", "group_norm"])
def test_labels_change_the_hessian_only_of_smooth_tails(name: str) -> None:
    model, images, case = make_case(name)
    one, other = (reference_flatness(model, images, labels) for labels in torch.tensor([[0, 1, 2], [3, 3, 0]]))
    assert one.gauss_newton_trace == other.gauss_newton_trace
    assert (one.hessian_trace == pytest.approx(other.hessian_trace, rel=1e-9)) == (case.exactness == "hessian")


def test_another_convolution_of_the_front_by_name() -> None:
    model, images, _ = make_case("residual_projection")
    assert find_head(model, images).candidates == ("conv2", "shortcut")
    measured = measure(model, images, layer="shortcut")
    expected = reference_flatness(model, images, layer="shortcut")
    assert measured.layer == "shortcut"
    assert measured.relative_gap_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-8)


def test_reference_refuses_what_does_not_fit() -> None:
    model = nn.Sequential(nn.Conv2d(3, 512, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
    with pytest.raises(ModelError, match=r"13824 weights of '0' would need 6\.1 GB"):
        reference_flatness(model, torch.randn(1, 3, 8, 8))
    with pytest.raises(ModelError, match="'1' has no parameter 'weight'"):
        reference_flatness(model, torch.randn(1, 3, 8, 8), layer="1")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CLOSED_FORM)
def test_float32_agrees_with_float64(name: str) -> None:
    model, images, _ = make_case(name)
    exact = measure(model, images.clone())
    single = measure(model.float(), images.clone())
    assert single.relative_gap_flatness == pytest.approx(exact.relative_gap_flatness, rel=1e-5)
    assert single.hessian_trace == pytest.approx(exact.hessian_trace, rel=1e-5)
