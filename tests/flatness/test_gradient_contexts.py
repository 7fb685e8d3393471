"""Networks that switch gradients on or off themselves, or train tensors that are no parameters."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from two_convolutions import Two, make_images, run_within

from flatselect import measure
from flatselect.flatness import reference_by_gradients

End = Callable[[Two, Tensor], Tensor]


def classify_two_uses(model: Two, x: Tensor) -> Tensor:
    """The first convolution's output is used inside of its context and after it, before the second convolution runs."""
    with torch.enable_grad():
        maps = model.c1(x)
        pooled = maps.mean((2, 3))
    rectified = F.relu(maps)
    return model.both(torch.cat([(rectified + model.beside(x)).mean((2, 3)), pooled], 1))


CONTEXTS: dict[str, tuple[End, set[str]]] = {
    "set_grad_enabled": (
        lambda m, x: m.fc(run_within(lambda: torch.set_grad_enabled(True), Two.features, m, x)),
        {"c2"},
    ),
    "enable_grad": (lambda m, x: m.fc(torch.enable_grad()(m.features)(x)), {"c2"}),
    "no_grad before the layer": (
        lambda m, x: m.fc(F.relu(m.c2(run_within(torch.no_grad, lambda m, x: F.relu(m.c1(x)), m, x))).mean((2, 3))),
        {"c2"},
    ),
    "two uses": (classify_two_uses, {"c1", "beside"}),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_inside_the_model_does_not_cut_the_tail(name: str) -> None:
    torch.manual_seed(0)
    end, layers = CONTEXTS[name]
    model = Two(end, beside=nn.Conv2d(3, 4, 3), both=nn.Linear(8, 4)).double()
    images = make_images()
    measured = measure(model, images)
    assert {layer.layer for layer in measured.layers} == layers
    for layer in measured.layers:
        expected = reference_by_gradients(model, images, layer.layer).gauss_newton_flatness
        assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)


def test_a_trained_tensor_that_is_no_parameter() -> None:
    """Architecture search by gradients keeps its weights so."""
    torch.manual_seed(0)
    model = Two(lambda m, x: m.fc(F.relu(m.c2(F.relu(m.c1(x)) * m.alpha.softmax(0)[0])).mean((2, 3)))).double()
    alpha = torch.randn(2, dtype=torch.float64, requires_grad=True)
    model.alpha = alpha
    images = make_images()
    measured = measure(model, images, layers="all")
    assert [layer.layer for layer in measured.layers] == ["c1", "c2", "fc"]
    for layer in measured.layers:
        expected = reference_by_gradients(model, images, layer.layer).gauss_newton_flatness
        assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)
    assert model.alpha is alpha
    assert alpha.requires_grad
