"""Weights that act outside of their layer too: of these no flatness is given."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from two_convolutions import Two, make_images, run_within

from flatselect import UnsupportedHeadError, measure
from flatselect.flatness import reference_flatness


@pytest.mark.parametrize(
    ("end", "layer"),
    [
        (lambda m, x: m.fc(F.relu(m.c2(F.relu(m.c1(x))) / m.c2.weight.norm()).mean((2, 3))), "c2"),
        (lambda m, x: m.fc(m.features(x) * m.c2.weight.mean()), "c2"),
        (lambda m, x: m.fc(m.features(x)) * m.c1.weight.mean(), "c1"),
        (lambda m, x: m.fc(m.features(x)) / m.fc.weight.norm(dim=1), "fc"),
    ],
)
def test_a_weight_that_acts_twice_is_refused(end: Callable[[Two, Tensor], Tensor], layer: str) -> None:
    model = Two(end).double()
    with pytest.raises(UnsupportedHeadError, match="is not the only place where its weight acts"):
        measure(model, make_images(), layer=layer)
    assert layer in measure(model, make_images(), layers="all").refused


REPARAMETRISED: dict[str, Callable[[nn.Module], object]] = {
    "parametrised weight norm": nn.utils.parametrizations.weight_norm,
    "parametrised spectral norm": nn.utils.parametrizations.spectral_norm,
    "parametrised orthogonal": nn.utils.parametrizations.orthogonal,
    "own parametrisation": lambda layer: parametrize.register_parametrization(layer, "weight", nn.Tanh()),
    "weight norm": nn.utils.weight_norm,
    "spectral norm": nn.utils.spectral_norm,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("way", REPARAMETRISED)
def test_a_computed_weight_that_acts_twice_is_refused(way: str) -> None:
    ends: dict[str, Callable[[Two, Tensor], Tensor]] = {
        "c2": lambda m, x: m.fc(m.features(x) * (1 + m.c2.weight.mean((1, 2, 3)))),
        "c1": lambda m, x: m.fc(m.features(x)) * m.c1.weight.mean(),
        "fc": lambda m, x: m.fc(m.features(x)) / m.fc.weight.norm(dim=1),
    }
    images = make_images()
    for layer, end in ends.items():
        torch.manual_seed(0)
        model = Two(end).double()
        for child in (model.c1, model.c2, model.fc):
            REPARAMETRISED[way](child)
        model.eval()(images)
        for context in (nullcontext, parametrize.cached):
            model.end = lambda m, x, end=end, context=context: run_within(context, end, m, x)
            with pytest.raises(
                UnsupportedHeadError, match=rf"'{layer}' \(.* is not the only place where its weight acts"
            ):
                measure(model, images, layer=layer)
            assert layer in measure(model, images, layers="all").refused
        # The same weights, each in its own layer only.
        model.end = lambda m, x: m.fc(m.features(x))
        plain = Two(model.end).double()
        for child, own in zip(plain.children(), (model.c1, model.c2, model.fc), strict=True):
            child.load_state_dict({"weight": own.weight.detach(), "bias": own.bias.detach()})
        measured = measure(model, images, layers="all")
        assert [found.layer for found in measured.layers] == ["c1", "c2", "fc"]
        for found in measured.layers:
            expected = reference_flatness(plain, images, layer=found.layer)
            assert found.relative_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-8)


def test_a_weight_that_acts_in_another_layer_too_is_refused() -> None:
    class Borrowing(nn.Conv2d):
        other: tuple[nn.Conv2d, ...]

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight + self.other[0].weight, self.bias)

    def end(self: Two, x: Tensor) -> Tensor:
        y = F.relu(self.c1(x))
        return self.fc(F.relu(self.c2(F.relu(self.borrowing(y) + self.lent(y)))).mean((2, 3)))

    model = Two(end, borrowing=Borrowing(4, 4, 3), lent=nn.Conv2d(4, 4, 3))
    model.borrowing.other = (model.lent,)
    measured = measure(model.double(), make_images(), layers="all")
    assert [layer.layer for layer in measured.layers] == ["c1", "c2", "fc"]
    assert "is not the only place where its weight acts" in measured.refused["lent"]


def test_parametrised_layers_that_share_their_weight_are_refused() -> None:
    model = Two(lambda m, x: m.fc(F.relu(m.c3(m.c2(F.relu(m.c1(x))))).mean((2, 3))), c3=nn.Conv2d(4, 5, 3)).double()
    model.c2 = nn.Conv2d(4, 4, 3).double()
    for layer in (model.c2, model.c3):
        nn.utils.parametrizations.weight_norm(layer)
    model.c3.parametrizations.weight.original1 = nn.Parameter(torch.randn(5, 4, 3, 3, dtype=torch.float64))
    assert measure(model, make_images()).layer == "c3"
    model.c3 = nn.Conv2d(4, 4, 3).double()
    model.fc = nn.Linear(4, 4).double()
    nn.utils.parametrizations.weight_norm(model.c3)
    model.c3.parametrizations.weight.original1 = model.c2.parametrizations.weight.original1
    with pytest.raises(UnsupportedHeadError, match=r"'c3' .* shares its weight with 'c2.parametrizations.weight'"):
        measure(model, make_images())
