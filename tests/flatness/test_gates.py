"""Gates: layers that multiply what they were computed from, and what they hide for some images."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from cases import make_case
from torch import Tensor, nn
from two_convolutions import Two, make_images

from flatselect import measure
from flatselect.flatness import find_head, flatness_penalty, reference_by_gradients, reference_flatness
from flatselect.flatness.tail_reduction import TailReduction


class Gated(nn.Module):
    """Squeeze-and-excitation after the last convolution, by gates that saturate exactly."""

    def __init__(self, gate: Callable[[Tensor], Tensor], scale: float):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.g1, self.g2 = nn.Conv2d(5, 2, 1), nn.Conv2d(2, 5, 1)
        self.fc = nn.Linear(5, 4)
        self.gate = gate
        for parameter in self.parameters():
            parameter.data *= scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.c2(F.relu(self.c1(x)))
        gate = self.gate(self.g2(F.relu(self.g1(y.mean((2, 3), keepdim=True)))))
        return self.fc(F.relu(y * gate).mean((2, 3)))


@pytest.mark.parametrize("gate", [torch.sigmoid, F.hardsigmoid, lambda x: F.relu6(x + 3) / 6])
@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
def test_gates_that_are_closed_for_some_images(gate: Callable[[Tensor], Tensor], scale: float) -> None:
    """A gate may stand still for the images that the head was found with, and move for others."""
    for seed in range(6):
        torch.manual_seed(seed)
        model = Gated(gate, scale).double()
        images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
        for options in ({}, {"layers": "all"}):
            measured = measure(model, images, batch_size=2, **options)
            for layer in measured.layers:
                expected = reference_by_gradients(model, images, layer.layer)
                assert layer.relative_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8, abs=1e-25)
                assert layer.hessian_trace == pytest.approx(expected.gauss_newton_trace, rel=1e-8, abs=1e-25)


def test_a_gate_that_moves_is_not_called_exact() -> None:
    torch.manual_seed(4)
    model = Gated(torch.sigmoid, 1.0).double()
    measured = measure(model, torch.randn(3, 3, 8, 8, dtype=torch.float64))
    assert (measured.layer, measured.method, measured.exactness) == ("c2", "class_jacobians", "gauss_newton")


class ZeroGain(nn.Module):
    """A residual branch whose last norm starts at gain 0, as ResNets are initialised, with something after it."""

    def __init__(self, change: Callable[["ZeroGain", Tensor], Tensor]):
        super().__init__()
        self.stem, self.last, self.norm = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.squeeze, self.fc = nn.Linear(6, 6), nn.Linear(6, 4)
        self.change = change
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.fc(F.relu(x + self.change(self, self.norm(self.last(x)))).mean((2, 3)))


@pytest.mark.parametrize(
    ("change", "method"),
    [
        (lambda net, y: y, "closed_form"),
        (lambda net, y: y * torch.sigmoid(net.squeeze(y.mean((2, 3))))[..., None, None], "class_jacobians"),
        (lambda net, y: y.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2), "class_jacobians"),
    ],
)
def test_what_a_gain_of_zero_hides_is_not_taken_for_separate_channels(
    change: Callable[[ZeroGain, Tensor], Tensor], method: str
) -> None:
    torch.manual_seed(0)
    model = ZeroGain(change).double().eval()
    images = make_images()
    head = find_head(model, images)
    assert head.layers[0].method == method
    nn.init.normal_(model.norm.weight)
    expected = reference_by_gradients(model, images, "last").gauss_newton_flatness
    assert flatness_penalty(model, images, head).item() == pytest.approx(expected, rel=1e-8)
    assert measure(model, images, head=head).relative_gap_flatness == pytest.approx(expected, rel=1e-8)


def test_only_tails_whose_structure_depends_on_numbers_are_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    check = TailReduction._check_channels
    monkeypatch.setattr(
        TailReduction, "_check_channels", lambda self, *args: (checked.append("batch"), check(self, *args))
    )
    expected = {"residual": 1, "dense": 1, "relu6_in_place": 1, "parallel": 1, "silu": 2, "prelu": 2}
    for name, n_checks in expected.items():
        checked.clear()
        model, images, _ = make_case(name)
        measure(model, [images, images])
        assert len(checked) == n_checks, name
    checked.clear()
    model, images, _ = make_case("residual")
    measure(model, [images, images, images[..., :-1]])
    assert len(checked) == 2


@pytest.mark.parametrize("mix", ["norm", "normalise", "gate"])
def test_concatenated_branches_under_a_tail_that_mixes_channels(mix: str) -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = F.relu(self.c1(x))
        y = torch.cat([self.a(y), self.b2(F.relu(self.b1(y)))], 1)
        if mix == "norm":
            y = self.group(y)
        if mix == "gate":
            y = y * torch.sigmoid(self.squeeze(y.mean((2, 3))))[:, :, None, None]
        h = F.relu(y).mean((2, 3))
        return self.fc(F.normalize(h) if mix == "normalise" else h)

    model = Two(
        end, a=nn.Conv2d(4, 2, 1), b1=nn.Conv2d(4, 3, 1), b2=nn.Conv2d(3, 3, 3, padding=1),
        group=nn.GroupNorm(1, 5), squeeze=nn.Linear(5, 5),
    ).double()  # fmt: skip
    images = make_images()
    measured = measure(model, images)
    assert {layer.layer for layer in measured.layers} == {"a", "b2"}
    for layer in measured.layers:
        expected = reference_flatness(model, images, layer=layer.layer)
        assert layer.relative_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8)


# Of a map, a gate that the convolution "gate" computed from it, and a query map that "query" did: features.
GATED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "multiplied": lambda y, a, q: (y * a).sum((2, 3)),
    "einsum": lambda y, a, q: torch.einsum("nchw,nhw->nc", y, a[:, 0]),
    "einsum of three": lambda y, a, q: torch.einsum("nhw,nchw,nchw->nc", a[:, 0], y, q),
    "bmm": lambda y, a, q: torch.bmm(y.flatten(2), a.flatten(2).mT)[..., 0],
    "bmm, the gate first": lambda y, a, q: torch.bmm(a.flatten(2), y.flatten(2).mT)[:, 0],
    "image by image": lambda y, a, q: torch.stack([m.flatten(1) @ g.flatten() for m, g in zip(y, a, strict=True)]),
    "addcmul": lambda y, a, q: torch.addcmul(y, y, a).sum((2, 3)),
    "baddbmm": lambda y, a, q: torch.baddbmm(y.mean((2, 3))[..., None], y.flatten(2), a.flatten(2).mT)[..., 0],
    "divided": lambda y, a, q: (y / (1 + a)).sum((2, 3)),
    "addcdiv": lambda y, a, q: torch.addcdiv(y, y, 1 + a).sum((2, 3)),
    "weighted mean": lambda y, a, q: (y * a).sum((2, 3)) / a.sum((2, 3)),
    "lerp": lambda y, a, q: torch.lerp(y, y.relu(), a).sum((2, 3)),
    "attention": lambda y, a, q: F.scaled_dot_product_attention(*(m.flatten(2).mT for m in (q, q, y))).mean(1),
    "fused attention": lambda y, a, q: F.scaled_dot_product_attention(
        *(m.flatten(2).mT.contiguous() for m in (q, q, y))
    ).mean(1),
    "attention by hand": lambda y, a, q: ((q.flatten(2).mT @ q.flatten(2)).softmax(2) @ y.flatten(2).mT).mean(1),
}


@pytest.mark.parametrize("way", GATED)
def test_a_convolution_that_computes_a_gate_is_not_the_last(way: str) -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = self.c2(F.relu(self.c1(x)))
        return self.fc(GATED[way](y, self.gate(y).flatten(2).softmax(2).view(-1, 1, *y.shape[2:]), self.query(y)))

    model = Two(end, gate=nn.Conv2d(5, 1, 1), query=nn.Conv2d(5, 5, 1)).double()
    images = make_images()
    measured = measure(model, images)
    expected = reference_by_gradients(model, images, "c2")
    assert (measured.layer, measured.exactness) == ("c2", "gauss_newton")
    assert measured.relative_gap_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8)


@pytest.mark.parametrize(
    "combine",
    [
        lambda y, a: a / (1 + y.mean(1, keepdim=True).abs()),
        lambda y, a: torch.addcdiv(a, a, 1 + y.square().mean(1, keepdim=True)),
        lambda y, a: torch.lerp(y, a, 0.3),
        lambda y, a: torch.lerp(a, a.relu(), y.mean(1, keepdim=True).sigmoid()),
    ],
)
def test_a_convolution_divided_by_what_it_was_computed_from_is_the_last(
    combine: Callable[[Tensor, Tensor], Tensor],
) -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = self.c2(F.relu(self.c1(x)))
        return self.fc(combine(y, self.after(y)).flatten(2).mean(2))

    model = Two(end, after=nn.Conv2d(5, 5, 3, padding=1)).double()
    images = make_images()
    measured = measure(model, images)
    expected = reference_flatness(model, images, layer="after")
    assert measured.layer == "after"
    assert measured.relative_gap_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8)


def attend(values: Tensor, keys: Tensor) -> Tensor:
    weights = torch.bmm(keys.flatten(2).mT, keys.flatten(2)).softmax(-1)
    return torch.bmm(values.flatten(2), weights.mT).mean(2)


ATTENDED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "products": attend,
    "fused": lambda v, y: F.scaled_dot_product_attention(y.flatten(2).mT, y.flatten(2).mT, v.flatten(2).mT).mean(1),
    "number by number": lambda v, y: (F.relu(v) * y.mean(1).flatten(1).softmax(1).view(len(y), 1, 6, 6)).sum((2, 3)),
    "sigmoid": lambda v, y: (F.relu(v) * torch.sigmoid(y.mean(1, keepdim=True))).mean((2, 3)),
}


@pytest.mark.parametrize("way", ATTENDED)
def test_the_values_that_attention_weighs_are_no_gate(way: str) -> None:
    """Though they are computed from what the weights are computed from."""

    def end(self: Two, x: Tensor) -> Tensor:
        maps = F.relu(self.c1(x))
        return self.fc(ATTENDED[way](self.values(maps), maps))

    torch.manual_seed(0)
    model = Two(end, values=nn.Conv2d(4, 5, 1)).double()
    images = make_images()
    measured = measure(model, images)
    assert measured.layer == "values"
    expected = reference_flatness(model, images, layer="values").relative_gap_flatness
    assert measured.relative_gap_flatness == pytest.approx(expected, rel=1e-8)


def gate_all(maps: Tensor) -> Tensor:
    return (F.relu(maps.mean((1, 2, 3), keepdim=True) - 3) + 0.5).expand(-1, maps.shape[1], 1, 1)


def gate_pairs(maps: Tensor) -> Tensor:
    """One for channels 0 and 1, one for 2 and 3."""
    gates = F.relu(maps.mean((2, 3)).view(-1, 2, 2).mean(2) - 3).repeat_interleave(2, 1) + 0.5
    return gates[:, :, None, None]


class SharedGate(nn.Module):
    """Gates of several channels, shut for faint images."""

    def __init__(self, gate: Callable[[Tensor], Tensor]):
        super().__init__()
        self.stem, self.last, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)
        self.fc.weight.data /= 100
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.last(F.relu(self.stem(x))))
        return self.fc((maps * self.gate(maps)).mean((2, 3)))


@pytest.mark.parametrize("gate", [gate_all, gate_pairs])
@pytest.mark.parametrize("seed", range(3))
def test_gates_of_several_channels_that_open_for_later_images(gate: Callable[[Tensor], Tensor], seed: int) -> None:
    torch.manual_seed(seed)
    model, images = SharedGate(gate).double(), torch.randn(6, 3, 8, 8, dtype=torch.float64)
    images[1:] *= 100
    expected = reference_by_gradients(model, images, "last").gauss_newton_flatness
    assert measure(model, images).relative_gap_flatness == pytest.approx(expected, rel=1e-8)
    head = find_head(model, images)
    assert head.layers[0].method == "closed_form"  # on the first image, where the gates are shut
    assert flatness_penalty(model, images, head).item() == pytest.approx(expected, rel=1e-8)
