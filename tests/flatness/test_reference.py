"""The reference by gradients against the full Hessian, and where it must hold and the Hessian is too large."""

import pytest
import torch
from cases import MEASURED, OnCopies, make_case
from torch import nn

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import ModelError
from flatselect.flatness import reference_by_gradients, reference_flatness


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", [name for name in MEASURED if not name.startswith("softmax")])
def test_gradients_give_the_gauss_newton_part_of_the_full_hessian(name: str) -> None:
    model, images, case = make_case(name)
    for layer in case.layer.split(" + "):
        found = reference_by_gradients(model, images, layer if "+" in case.layer else None)
        expected = reference_flatness(OnCopies(model), images, layer=f"model.{layer}")
        assert (found.layer, found.n_images) == (layer, 3)
        assert found.gauss_newton_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-9)
        assert found.gauss_newton_trace == pytest.approx(expected.gauss_newton_trace, rel=1e-9)


def test_one_of_several_layers_must_be_named() -> None:
    model, images, _ = make_case("parallel")
    for reference in (reference_by_gradients, reference_flatness):
        with pytest.raises(ModelError, match=r"2 layers are measured side by side; name one: .* main\.0, beside\.0"):
            reference(model, images)


@pytest.mark.parametrize("layer", ["stem", "head"])
def test_gradients_reach_any_layer(layer: str) -> None:
    model, images, _ = make_case("conv_bn_relu")
    found, expected = reference_by_gradients(model, images, layer), reference_flatness(model, images, layer=layer)
    assert found.gauss_newton_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-9)
    assert found.gauss_newton_trace == pytest.approx(expected.gauss_newton_trace, rel=1e-9)


@pytest.mark.parametrize("undo", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_gradients_take_a_softmax_for_its_logits(undo: nn.Module) -> None:
    model, images, _ = make_case("conv_bn_relu")
    found, expected = (
        reference_by_gradients(m, images, "0.last") for m in (nn.Sequential(model, undo), nn.Sequential(model))
    )
    assert found.gauss_newton_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-9)


def test_gradients_hold_where_a_network_is_almost_certain() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with torch.no_grad():
        model.head.weight *= 80
    found, expected = reference_by_gradients(model, images), measure(model, images)
    assert expected.companions["mean_confidence"] > 0.999
    assert found.gauss_newton_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-9)


def test_gradients_are_for_layers_too_large_for_their_hessian() -> None:
    model = nn.Sequential(nn.Conv2d(3, 512, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 5))
    images, passes = torch.randn(2, 3, 8, 8), []
    found = reference_by_gradients(model, images, report=lambda *n: passes.append(n))
    assert found.gauss_newton_flatness == pytest.approx(measure(model, images).relative_gap_flatness, rel=1e-4)
    assert passes == [(n, 10) for n in range(1, 11)]
    assert next(model.parameters()).dtype == torch.float32, "a copy is made"


def test_gradients_refuse_what_does_not_fit() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(ModelError, match="'pool' has no parameter 'weight'"):
        reference_by_gradients(model, images, "pool")
    model.add_module("beside", nn.Identity())
    model.beside.weight = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ModelError, match="does not depend on the weight of layer 'beside'"):
        reference_by_gradients(model, images, "beside")
    with pytest.raises(UnsupportedHeadError, match=r"tensor of shape \(1, 6, 1, 1\) for one image; expected logits"):
        reference_by_gradients(model[:-3], images, "last")
