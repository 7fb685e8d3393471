"""Networks that lie about themselves: each once gave a wrong number, a wrong layer or a traceback."""

import collections
import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import StandardisedConv2d, make_case
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import DataError, FlatselectError, ModelError
from flatselect.flatness import GapFlatness, find_head, flatness_penalty, reference_by_gradients, reference_flatness
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


def test_only_tails_whose_structure_depends_on_numbers_are_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    check = TailReduction._check_channels
    monkeypatch.setattr(
        TailReduction, "_check_channels", lambda self, *args: (checked.append("batch"), check(self, *args))
    )
    expected = {"residual": 0, "dense": 0, "relu6_in_place": 0, "parallel": 0, "silu": 2, "prelu": 2}
    for name, n_checks in expected.items():
        checked.clear()
        model, images, _ = make_case(name)
        measure(model, [images, images])
        assert len(checked) == n_checks, name
    checked.clear()
    model, images, _ = make_case("residual")
    measure(model, [images, images, images[..., :-1]])
    assert len(checked) == 1


class Two(nn.Module):
    """Two convolutions, ReLU, pooling, classifier; `end` makes the output."""

    def __init__(self, end: Callable[["Two", Tensor], Tensor], **modules: nn.Module):
        super().__init__()
        self.c1, self.c2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 4)
        self.end = end
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self, x)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3))


def make_images(n_images: int = 3, size: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n_images, 3, size, size, dtype=dtype)


class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        return None


def test_gradients_that_are_cut_are_refused() -> None:
    model = Two(lambda self, x: self.fc(NoDerivative.apply(self.features(x)))).double()
    with pytest.raises(UnsupportedHeadError, match=r"no derivative leads .* back to 'c2'|but its derivative is 0"):
        measure(model, make_images())


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_refused() -> None:
    model = Two(lambda self, x: self.fc(self.features(x)))
    quantised = torch.ao.quantization.quantize_dynamic(model.eval(), {nn.Linear})
    with pytest.raises(FlatselectError):
        measure(quantised, make_images(dtype=torch.float32))


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
            model.end = lambda m, x, end=end, context=context: _run_within(context, end, m, x)
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


def _run_within(context: Callable[[], Any], end: Callable[[Two, Tensor], Tensor], model: Two, x: Tensor) -> Tensor:
    with context():
        return end(model, x)


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


def test_features_changed_after_they_were_classified() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        features = self.features(x)
        logits: Tensor = self.fc(features)
        features.mul_(3)
        return logits

    images = make_images()
    torch.manual_seed(0)
    model = Two(end).double()
    torch.manual_seed(0)
    plain = Two(lambda self, x: self.fc(self.features(x))).double()
    assert measure(model, images).relative_gap_flatness == measure(plain, images).relative_gap_flatness


def test_another_map_from_channels_to_features_for_larger_images() -> None:
    model = Two(lambda self, x: self.fc(self.features(x).flip(1) if x.shape[2] > 8 else self.features(x))).double()
    # Two runs of c2 would be another case: one of them, chosen by size.
    batches = [make_images(), make_images(size=10)]
    measured = measure(model, batches)
    expected = sum(reference_by_gradients(model, batch, "c2").gauss_newton_flatness for batch in batches) / 2
    assert measured.relative_gap_flatness == pytest.approx(expected, rel=1e-9)


def test_a_head_beside_the_classifier_with_the_same_values() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = F.relu(self.c1(x))
        output = self.fc(F.relu(self.c2(y)).mean((2, 3)))
        self.aux(y.mean((2, 3)))
        return output

    model = Two(end, aux=nn.Linear(4, 4)).double()
    for head in (model.fc, model.aux):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    head = find_head(model, make_images())
    assert (head.layer, head.classifier_name) == ("c2", "fc")


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


def test_a_branch_that_ends_in_a_linear_layer_is_refused() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = F.relu(self.c1(x))
        return self.fc(torch.cat([self.c2(y).mean((2, 3)), F.relu(self.lin(F.relu(self.b(y)).mean((2, 3))))], 1))

    model = Two(end, b=nn.Conv2d(4, 3, 3), lin=nn.Linear(3, 2)).double()
    model.fc = nn.Linear(7, 4).double()
    with pytest.raises(UnsupportedHeadError, match=r"'lin' \(Linear\) stands between"):
        measure(model, make_images())


def test_a_little_of_the_other_images_is_seen() -> None:
    model = Two(lambda self, x: self.fc(self.features(x - 0.02 * x.mean(0)))).double()
    with pytest.raises(UnsupportedHeadError, match="changes with the other images"):
        measure(model, make_images(5))


def test_kept_feature_maps_do_not_hold_a_graph() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        self.kept = self.features(x)
        self.count = getattr(self, "count", 0) + 1
        output: Tensor = self.fc(self.kept)
        return output

    model = Two(end).double()
    images = make_images()
    measure(model, images)
    assert not hasattr(model, "kept")
    with torch.no_grad():
        model(images)
    kept = model.kept
    measure(model, images)
    assert model.kept is kept
    assert model.count == 1
    copy.deepcopy(model)


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_forward_pass_keeps_in_containers_is_put_back(fails: bool) -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = self.c2(F.relu(self.c1(x)))
        self.cache["f"] = self.cache["old"] = y
        self.maps.append(y)
        self.last_maps.append(y)
        self.nested["maps"][0].append(y)
        self.by_name["f"].append(y)
        self.sizes.add(y.shape)
        self.in_order.move_to_end("a")
        self.emptied.clear()
        if not hasattr(self, "mean"):
            self.register_buffer("mean", y.mean(0))
            self.register_buffer("unsaved", y.mean(0), persistent=False)
            self.register_parameter("scale", nn.Parameter(torch.ones(1)))
            self.add_module("lazy", nn.ReLU())
            del self.spare
        if fails:
            raise KeyboardInterrupt
        return self.fc(F.relu(y).mean((2, 3)))

    model = Two(end, spare=nn.Identity()).double()
    old = torch.zeros(1)  # one number: then == is a truth
    model.cache, model.maps, model.nested = {"old": old}, [old], {"maps": [[old]]}
    model.last_maps, model.by_name = collections.deque([old, old], maxlen=2), collections.defaultdict(list)
    model.sizes, model.in_order, model.emptied = set(), collections.OrderedDict(a=1, b=2), {1: 2}
    names = ("cache", "maps", "nested", "last_maps", "by_name", "sizes", "in_order", "emptied")
    kept = dict(vars(model))

    def describe() -> tuple[object, ...]:
        contents = [copy.deepcopy(vars(model)[name]) for name in names]
        return contents, list(model.state_dict()), list(model.named_modules()), set(model._non_persistent_buffers_set)

    before = describe()
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        measure(model, make_images())
    assert describe() == before
    assert kept.keys() == vars(model).keys()
    assert all(vars(model)[name] is value for name, value in kept.items())
    assert model.cache["old"] is model.maps[0] is old
    copy.deepcopy(model)


WRONG: list[tuple[dict[str, Any], type[FlatselectError], str]] = [
    ({"layers": []}, UnsupportedHeadError, r"layers=\[\]; expected names of layers"),
    ({"layer": 3}, UnsupportedHeadError, "expected names of layers"),
    ({"layers": 3}, UnsupportedHeadError, "expected names of layers"),
    ({"layers": [nn.Linear(1, 1)]}, UnsupportedHeadError, "expected names of layers"),
    ({"relative_error": "0.1"}, DataError, "relative_error='0.1'; expected a positive number"),
    ({"head": "last"}, ModelError, "head is str; expected what"),
    ({"quantities": "trace"}, DataError, r"quantities=\['trace'\]: unknown"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_arguments(options: dict[str, Any], error: type[FlatselectError], message: str) -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(error, match=message):
        measure(model, images, **options)


def test_arguments_that_are_near_enough() -> None:
    model, images, _ = make_case("residual")
    assert measure(model, images, layers="conv1") == measure(model, images, layer="conv1")
    assert measure(model, images, quantities="block_traces").layers[0].block_traces is not None
    assert measure(model, images, device="cpu:0") == measure(model, images)
    model.second_name = model.conv1
    assert measure(model, images, layer="second_name").layer == "conv1"
    with pytest.raises(DataError, match="sparse"):
        measure(model, images.to_sparse())


def test_one_class_has_every_quantity() -> None:
    model, images, _ = make_case("conv_bn_relu")
    model.head = nn.Linear(6, 1).double()
    quantities = ["max_eigenvalue_flatness", "input_channel_flatness", "block_traces"]
    for layer in measure(model, images, layers="all", quantities=quantities).layers:
        assert layer.max_eigenvalue_flatness == layer.input_channel_flatness == layer.relative_flatness == 0


@pytest.mark.filterwarnings("ignore")
def test_scripted_models_are_refused() -> None:
    model, images, _ = make_case("conv_bn_relu")
    model.eval()
    mixed = copy.deepcopy(model)
    mixed.tail1 = torch.jit.script(mixed.tail1)
    for scripted in (torch.jit.script(model), torch.jit.trace(model, images), mixed):
        with pytest.raises(ModelError, match="is a TorchScript module, which cannot be looked into"):
            measure(scripted, images)


def test_accumulators_of_other_heads_are_not_merged() -> None:
    model, images, _ = make_case("residual")
    one, other = GapFlatness(find_head(model, images)), GapFlatness(find_head(model, images, "conv1"))
    with pytest.raises(DataError, match="the other accumulator is of 'conv1'"):
        one.merge(other)
    assert one.relative_error() == float("inf")


def test_the_penalty_wants_images() -> None:
    model, images, _ = make_case("conv_bn_relu")
    head = find_head(model, images)
    for given in (images[:0], images.numpy()):
        with pytest.raises(DataError, match="expected a tensor"):
            flatness_penalty(model, given, head)  # type: ignore[arg-type]


def test_layers_called_by_any_keyword() -> None:
    class Named(nn.Conv2d):
        def forward(self, inp: Tensor) -> Tensor:
            return super().forward(inp)

    model = Two(lambda self, x: self.fc(F.relu(self.named(inp=F.relu(self.c1(x)))).mean((2, 3))), named=Named(4, 5, 3))
    images = make_images()
    expected = reference_flatness(model.double(), images, layer="named")
    assert measure(model, images).relative_gap_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-9)


def test_a_frozen_backbone_is_named_as_the_reason() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.features(x)
        return self.fc(features)

    model = Two(end).double()
    with pytest.raises(UnsupportedHeadError, match="no convolution feeds the classifier"):
        measure(model, make_images())
    with pytest.raises(UnsupportedHeadError, match=r"no derivative leads .* back to 'c2' \(torch.no_grad or detach"):
        measure(model, make_images(), layer="c2")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            lambda m, x: m.fc(_run_within(torch.inference_mode, Two.features, m, x)),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(_run_within(torch.inference_mode, Two.features, m, x).clone()),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(m.features(_run_within(torch.inference_mode, lambda m, x: x / 2, m, x))),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(_run_within(torch.inference_mode, lambda m, h: h / 2, m, m.features(x))),
            r"'fc' \(Linear\) takes or gives tensors",
        ),
        (
            lambda m, x: _run_within(torch.inference_mode, lambda m, z: z.softmax(1), m, m.fc(m.features(x))),
            r"output, which an operation after 'fc' \(Linear\) made, is among tensors",
        ),
    ],
)
def test_inference_mode_inside_a_model_is_named_as_the_reason(
    end: Callable[[Two, Tensor], Tensor], message: str
) -> None:
    model = Two(end).double()
    with pytest.raises(ModelError, match=rf"{message} made under torch.inference_mode .* use torch.no_grad there"):
        measure(model, make_images())


class WithoutGraph(nn.Conv2d):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def test_inference_mode_inside_a_layer_is_named_as_the_reason() -> None:
    model = Two(lambda m, x: m.fc(m.features(x)), c2=WithoutGraph(4, 5, 3)).double()
    with pytest.raises(
        ModelError, match=r"'c2' \(WithoutGraph\) takes or gives tensors made under torch.inference_mode"
    ):
        measure(model, make_images())


class Halve:
    def __call__(self, module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output / 2


@pytest.mark.parametrize("layer", ["c2", "fc"])
@pytest.mark.parametrize("hook", [lambda module, args, output: 3 * output, Halve(), partial(Halve.__call__, None)])
def test_a_forward_hook_that_changes_a_layers_output_is_named_as_the_reason(
    layer: str, hook: Callable[..., Tensor]
) -> None:
    model = Two(lambda m, x: m.fc(m.features(x))).double()
    handle = model.get_submodule(layer).register_forward_hook(hook)
    name = getattr(hook, "__qualname__", type(hook).__name__)
    with pytest.raises(UnsupportedHeadError, match=rf"'{layer}' \(.* has a forward hook, {name}, that may change"):
        measure(model, make_images())
    handle.remove()
    assert measure(model, make_images()).layer == "c2"
    standardised = Two(lambda m, x: m.fc(m.features(x)), c2=StandardisedConv2d(4, 5, 3)).double()
    with pytest.raises(UnsupportedHeadError, match=r"with its own weight \(weight standardisation"):
        measure(standardised, make_images())
