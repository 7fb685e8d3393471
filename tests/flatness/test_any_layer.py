"""Any layer, and every quantity, against matrices formed by autograd in float64."""

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import CASES, MEASURED, OnCopies, Parallel, StandardisedConv2d, make_case, sequential
from torch import Tensor, nn

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import DataError, ModelError
from flatselect.flatness import class_jacobians, find_head, reference_by_gradients, reference_flatness

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

# Among those whose default is refused, any layer of these is covered.
NAMED_ONLY = [
    "flattened_map",
    "several_linear_layers",
    "pooling_before_last_convolutions",
    "linear_layers_on_tokens",
    "scaled_logits",
    "convolution_twice",
    "attention_pooling",
    "no_convolution",
]


def form_gauss_newton(model: nn.Module, image: Tensor, layer: str) -> Tensor:
    """JᵀΛJ of one image in a layer's weight, (J·d, J·d)."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    name = f"{layer}.weight"

    def logits_of(weight: Tensor) -> Tensor:
        return torch.func.functional_call(model, {**tensors, name: weight}, (image[None],))[0]

    model.eval()
    jacobian = torch.func.jacrev(logits_of)(tensors[name]).flatten(1)
    p = logits_of(tensors[name]).softmax(0)
    return jacobian.T @ (p.diag() - p.outer(p)) @ jacobian


@pytest.mark.parametrize("name", [*MEASURED, *NAMED_ONLY])
def test_all_layers_equal_brute_force(name: str) -> None:
    if name.startswith("softmax"):
        pytest.skip("the reference takes logits only")
    model, images, _ = make_case(name)
    measured = measure(model, images.clone(), layers="all")
    weights = {n.removesuffix(".weight"): w for n, w in model.named_parameters() if n.endswith("weight") and w.ndim > 1}
    assert {layer.layer for layer in measured.layers} | set(measured.refused) == set(weights)
    labels = torch.tensor([0, 1, 1])
    total = 0.0
    for layer in measured.layers:
        expected = reference_flatness(OnCopies(model), images, labels, layer=f"model.{layer.layer}")
        assert layer.relative_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8, abs=1e-20)
        assert layer.hessian_trace == pytest.approx(expected.gauss_newton_trace, rel=1e-8, abs=1e-20)
        if layer.exactness == "hessian":
            assert layer.relative_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-6, abs=1e-20)
        total += expected.gauss_newton_flatness
    assert measured.relative_gap_flatness == pytest.approx(total, rel=1e-8)
    assert measured.layers[-1].exactness == "hessian"


@pytest.mark.parametrize("name", ["conv_bn_relu", "silu", "group_norm", "residual", "channels_last"])
def test_exactness_is_said_layer_by_layer(name: str) -> None:
    """Labels change the Hessian of exactly those layers that are not called exact."""
    model, images, _ = make_case(name)
    for layer in measure(model, images, layers="all").layers:
        one, other = (reference_flatness(model, images, y, layer.layer) for y in torch.tensor([[0, 1, 2], [3, 3, 0]]))
        is_exact = one.hessian_trace == pytest.approx(other.hessian_trace, rel=1e-9)
        assert is_exact == (layer.exactness == "hessian"), layer.layer


QUANTITIES = ("input_channel_flatness", "max_eigenvalue_flatness", "block_traces")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv_bn_relu", {}),
        ("one_position", {}),
        ("dense", {}),
        ("groups", {}),
        ("inception", {}),
        ("one_axis", {}),
        ("three_axes_grouped", {}),
        ("channels_last", {}),
        ("group_norm_of_grouped", {}),
        ("several_linear_layers", {"layers": "all"}),
        ("convolution_twice", {"layers": ["last"]}),
        ("residual", {"layers": "all"}),
    ],
)
def test_every_quantity_equals_brute_force(name: str, options: dict[str, Any]) -> None:
    model, images, _ = make_case(name)
    measured = measure(model, images, quantities=QUANTITIES, per_image=True, **options)
    diagonal = 0.0
    for found in measured.layers:
        weight = model.get_submodule(found.layer).weight.detach()
        kernel = weight.flatten(1)
        (n_rows, n_columns), n_channels = kernel.shape, weight.shape[1]
        matrices = [form_gauss_newton(model, image, found.layer) for image in images]
        blocks = torch.stack([h.view(n_rows, n_columns, n_rows, n_columns) for h in matrices]).mean(0)
        traces = torch.einsum("jxkx->jk", blocks)
        torch.testing.assert_close(found.block_traces, traces, rtol=1e-8, atol=1e-12)
        # The numbers of a layer all follow from the block traces, or refine them.
        gram = kernel @ kernel.T
        assert found.relative_flatness == pytest.approx(float((gram * traces).sum()), rel=1e-8)
        assert found.hessian_trace == pytest.approx(float(traces.trace()), rel=1e-8)
        assert found.diagonal_flatness == pytest.approx(float((gram * traces).trace()), rel=1e-8)
        by_channel = kernel.view(n_rows, n_channels, -1)
        of_channel = blocks.view(n_rows, n_channels, -1, n_rows, n_channels, kernel[0, :].numel() // n_channels)
        input_channel = torch.einsum("jia,kia,jibkib->", by_channel, by_channel, of_channel)
        assert found.input_channel_flatness == pytest.approx(float(input_channel), rel=1e-8)
        largest = sum(float(torch.linalg.eigvalsh(h)[-1]) for h in matrices) / len(matrices)
        assert found.max_eigenvalue_flatness == pytest.approx(float(kernel.square().sum()) * largest, rel=1e-8)
        assert found.per_image_flatness is not None
        assert found.relative_flatness == pytest.approx(float(found.per_image_flatness.mean()), rel=1e-12)
        diagonal += found.diagonal_flatness
    assert measured.diagonal_flatness == pytest.approx(diagonal, rel=1e-12)
    assert measured.to_dict()["layers"][0]["block_traces"] == measured.layers[0].block_traces.tolist()


@pytest.mark.parametrize("name", ["one_position", "conv_bn_relu", "gated_pointwise_of_one_position"])
def test_each_quantity_is_the_same_alone(name: str) -> None:
    """What else is asked for decides which way the patches are taken, not what comes out."""
    model, images, _ = make_case(name)
    together = measure(model, images, quantities=QUANTITIES).layers[0]
    for quantity in (*QUANTITIES, None):
        alone = measure(model, images, quantities=() if quantity is None else quantity).layers[0]
        for value in ("relative_flatness", "hessian_trace", "diagonal_flatness"):
            assert getattr(alone, value) == pytest.approx(getattr(together, value), rel=1e-12)
        for other in QUANTITIES:
            if other == quantity:
                torch.testing.assert_close(getattr(alone, other), getattr(together, other), rtol=1e-12, atol=1e-15)
            else:
                assert getattr(alone, other) is None


def test_layers_by_name_and_all_agree() -> None:
    model, images, _ = make_case("residual_projection")
    together = {layer.layer: layer for layer in measure(model, images, layers="all").layers}
    assert list(together) == ["stem", "conv1", "conv2", "shortcut", "fc"]
    for name, layer in together.items():
        alone = measure(model, images, layer=name)
        assert alone.relative_gap_flatness == pytest.approx(layer.relative_flatness, rel=1e-9)
        assert (alone.layer, alone.exactness, alone.method) == (name, layer.exactness, layer.method)
    assert [together[name].method for name in ("conv1", "conv2", "fc")] == [
        "class_jacobians",
        "closed_form",
        "class_jacobians",
    ]
    two = measure(model, images, layers=["shortcut", "conv1"])
    assert [layer.layer for layer in two.layers] == ["conv1", "shortcut"]
    expected = together["conv1"].relative_flatness + together["shortcut"].relative_flatness
    assert two.relative_gap_flatness == pytest.approx(expected, rel=1e-9)


def test_layers_that_cannot_be_measured_are_named() -> None:
    model = sequential(StandardisedConv2d(4, 6, 3), nn.ReLU()).double()
    images = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    measured = measure(model, images, layers="all")
    assert [layer.layer for layer in measured.layers] == ["stem", "head"]
    assert list(measured.refused) == ["last"]
    assert "weight standardisation" in measured.refused["last"]
    with pytest.raises(UnsupportedHeadError, match="weight standardisation"):
        measure(model, images, layer="last")


@pytest.mark.parametrize("name", NAMED_ONLY[:5])
def test_a_refusal_says_which_option_measures_it_and_that_does(name: str) -> None:
    model, images, case = make_case(name)
    with pytest.raises(UnsupportedHeadError, match=r"layer=(NAME|'\w+') measures") as refusal:
        measure(model, images)
    assert case.refusal in str(refusal.value)
    last = [n for n, module in model.named_modules() if isinstance(module, nn.Conv2d)][-1]
    expected = reference_flatness(model, images, layer=last)
    assert measure(model, images, layer=last).relative_gap_flatness == pytest.approx(
        expected.gauss_newton_flatness, rel=1e-8
    )


def test_a_layer_that_another_module_works_with_is_said_not_to_run() -> None:
    model, images, _ = make_case("global_max_pool")
    model.attention = nn.MultiheadAttention(4, 1)  # which calls none of its linear layers
    with pytest.raises(UnsupportedHeadError, match=r"layer='attention.out_proj' does not run .* such as an attention"):
        measure(model, images, layer="attention.out_proj")


def test_wrong_choices_of_layers() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(UnsupportedHeadError, match=r"layer='tail0' is of type BatchNorm2d; expected the name of"):
        measure(model, images, layer="tail0")
    with pytest.raises(UnsupportedHeadError, match=r"layer='lost' is not in the model; .* such as last"):
        measure(model, images, layers=["lost"])
    with pytest.raises(UnsupportedHeadError, match="both given"):
        measure(model, images, layer="last", layers="all")
    with pytest.raises(DataError, match=r"quantities=\['trace'\]: unknown; expected any of input_channel_flatness"):
        measure(model, images, quantities=["trace"])  # type: ignore[list-item]


def test_a_known_head_is_measured_with_the_weights_of_now() -> None:
    model, images, _ = make_case("conv_bn_relu")
    head = find_head(model, images)
    with torch.no_grad():
        model.get_submodule("last").weight *= torch.rand_like(model.get_submodule("last").weight)
    assert measure(model, images, head=head) == measure(model, images)
    other, _, _ = make_case("conv_bn_relu")
    with pytest.raises(ModelError, match="the head's layer 'last' is not this model's"):
        measure(other, images, head=head)
    with pytest.raises(ModelError, match="together with layer"):
        measure(model, images, head=head, layer="stem")


def test_folding_parallel_convolutions_is_one_convolution_of_another_flatness() -> None:
    """RepVGG before and after reparametrisation: the same function of one weight or of two, so κ differs."""
    torch.manual_seed(0)
    model = Parallel().double().eval()
    images = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    two = measure(model, images)
    assert [layer.layer for layer in two.layers] == ["main.0", "beside.0"]
    summed = sum(layer.relative_flatness for layer in two.layers)
    assert two.relative_gap_flatness == pytest.approx(summed, rel=1e-14)


@pytest.mark.parametrize("name", ["conv_bn_relu", "groups", "depthwise_multiplier", "channels_last", "group_norm"])
@pytest.mark.parametrize("options", [{}, {"layers": "all"}])
def test_normalized_inputs_do_not_see_a_rescaled_input_channel(name: str, options: dict[str, Any]) -> None:
    model, images, case = make_case(name)
    before = {n: measure(model, images, normalize_inputs=n, **options) for n in (True, False)}
    name_of_last = case.layer if not options else before[True].layers[1].layer
    found = next(layer for layer in before[True].layers if layer.layer == name_of_last)
    # Another way to the same number: put the scales into the network itself.
    last = model.get_submodule(name_of_last)
    inputs: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    model.eval()(images)
    handle.remove()
    channel = -1 if isinstance(last, nn.Linear) else 1
    std = inputs[0].movedim(channel, 0).flatten(1).std(1, correction=0)

    def divide(_: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return ((args[0].movedim(channel, -1) / std).movedim(-1, channel),)

    last.register_forward_pre_hook(divide)
    with torch.no_grad():
        groups = getattr(last, "groups", 1)
        rows = std.view(groups, -1).repeat_interleave(len(last.weight) // groups, 0)
        last.weight *= rows.view(*rows.shape, *[1] * (last.weight.ndim - 2))
    plain = measure(model, images, layer=name_of_last)
    assert found.relative_flatness == pytest.approx(plain.relative_gap_flatness, rel=1e-9)
    assert found.hessian_trace == pytest.approx(plain.hessian_trace, rel=1e-9)
    without = next(layer for layer in before[False].layers if layer.layer == name_of_last)
    # Where each row meets one input channel only, nothing is paired across channels that a scale could tell apart.
    is_depthwise = last.weight.shape[1] == 1
    assert (found.relative_flatness == pytest.approx(without.relative_flatness, rel=1e-3)) == is_depthwise
    assert found.hessian_trace != pytest.approx(without.hessian_trace, rel=1e-3)


def test_scaling_an_input_channel() -> None:
    """Input channel 0 tripled and its weights divided by three: the law that κ breaks and two variants keep."""
    model, images, _ = make_case("conv_bn_relu")

    def run() -> tuple[float, float, float]:
        plain = measure(model, images, quantities=["input_channel_flatness"])
        normalized = measure(model, images, normalize_inputs=True)
        channel = plain.layers[0].input_channel_flatness
        assert channel is not None
        return plain.relative_gap_flatness, normalized.relative_gap_flatness, channel

    before = run()
    with torch.no_grad():
        model.get_submodule("stem").weight[0] *= 3
        model.get_submodule("stem").bias[0] *= 3
        model.get_submodule("last").weight[:, 0] /= 3
    after = run()
    assert after[0] != pytest.approx(before[0], rel=1e-2)
    assert after[1:] == pytest.approx(before[1:], rel=1e-9)


def test_normalized_inputs_need_data_that_can_be_gone_through_twice() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(DataError, match="goes through the data twice, but list_iterator can be gone through once"):
        measure(model, iter([images]), normalize_inputs=True)
    constant = images.clone()
    constant[:] = images[:1, :, :1, :1]
    assert measure(model, constant, normalize_inputs=True).relative_gap_flatness > 0


def test_measuring_stops_at_a_wanted_relative_error() -> None:
    model, _, _ = make_case("conv_bn_relu")
    images = torch.randn(400, 2, 6, 6, dtype=torch.float64)
    all_of_them = measure(model, images, batch_size=20)
    some = measure(model, images, batch_size=20, relative_error=0.1)
    assert 40 <= some.n_images < 400
    assert some.n_images % 20 == 0
    assert some.standard_error <= 0.1 * some.relative_gap_flatness
    assert some == measure(model, images[: some.n_images], batch_size=20)
    before = measure(model, images[: some.n_images - 20], batch_size=20)
    assert some.n_images == 40 or before.standard_error > 0.1 * before.relative_gap_flatness
    assert measure(model, images, batch_size=20, relative_error=1e-9) == all_of_them
    assert measure(model, images, batch_size=10, relative_error=10.0).n_images == 40
    with pytest.raises(DataError, match="relative_error=0; expected a positive number"):
        measure(model, images, relative_error=0)


def test_standard_error_covers_the_truth() -> None:
    """Of 60 samples of 25 images, about 95 % must lie within 2 standard errors of the mean over all."""
    model, _, _ = make_case("residual")
    images = torch.randn(1500, 2, 6, 6, dtype=torch.float64)
    whole = measure(model, images, per_image=True)
    assert whole.per_image_flatness is not None
    samples = [measure(model, part) for part in images.split(25)]
    covered = [abs(s.relative_gap_flatness - whole.relative_gap_flatness) <= 2 * s.standard_error for s in samples]
    assert sum(covered) / len(covered) > 0.8
    assert sum(abs(s.relative_gap_flatness - whole.relative_gap_flatness) > s.standard_error for s in samples) > 5


def test_images_of_varying_size() -> None:
    model, _, _ = make_case("conv_bn_relu")
    batches = [torch.randn(2, 2, size, size + 1, dtype=torch.float64) for size in (6, 9, 5)]
    for options in ({}, {"layers": "all"}):
        together = measure(model, batches, **options)
        apart = [measure(model, batch, **options).relative_gap_flatness for batch in batches]
        assert together.relative_gap_flatness == pytest.approx(sum(apart) / 3, rel=1e-12)


def test_deep_graphs_are_cut_to_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, _ = make_case("residual")
    whole = measure(model, images, layers="all")
    monkeypatch.setattr(importlib.import_module("flatselect.flatness.measure"), "_GRAPH_ELEMENTS", 1)
    monkeypatch.setattr(class_jacobians, "_KEPT_ELEMENTS", 0)
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    cut = measure(model, images, layers="all")
    assert sizes[-3:] == [1, 1, 1]
    assert cut.relative_gap_flatness == pytest.approx(whole.relative_gap_flatness, rel=1e-12)


class OwnSquare(torch.autograd.Function):
    """A function of the old kind, which no vmap goes through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if float(gradient.detach().abs().max()) < 0:  # asks for a value, as batched tensors have none
            raise AssertionError
        return 2 * x * gradient


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        squared: Tensor = OwnSquare.apply(x)
        return squared


@pytest.mark.parametrize("at_once", [2, 3, 8])
def test_classes_in_one_backward_pass_or_apart(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, _ = make_case("residual")
    own = nn.Sequential(nn.Conv2d(2, 3, 3), Squares(), nn.Flatten(), nn.Linear(48, 4)).double()
    expected = [measure(network, images, layers="all") for network in (model, own)]
    monkeypatch.setitem(class_jacobians.CLASSES_AT_ONCE, "cpu", at_once)
    for network, apart in zip((model, own), expected, strict=True):
        together = measure(network, images, layers="all")
        for one, other in zip(together.layers, apart.layers, strict=True):
            assert one.relative_flatness == pytest.approx(other.relative_flatness, rel=1e-12)
            assert one.hessian_trace == pytest.approx(other.hessian_trace, rel=1e-12)


def test_the_named_cases_are_refused_ones() -> None:
    assert all(CASES[name].refusal for name in NAMED_ONLY)


def test_of_all_layers_those_that_gradients_do_not_reach_are_left_out() -> None:
    """Each by itself: that something else has a derivative says nothing of it."""

    class CutOff(nn.Module):
        def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.c1, self.c2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 4)
            self.cut = cut

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.c2(self.cut(F.relu(self.c1(x))))).mean((2, 3)))

    def without_gradient(x: Tensor) -> Tensor:
        with torch.no_grad():
            return x * 1

    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    for cut in (torch.detach, without_gradient, torch.round):
        model = CutOff(cut).double()
        measured = measure(model, images, layers="all")
        assert list(measured.refused) == ["c1"]
        assert re.search(r"no derivative leads .* back to 'c1'|its derivative is 0", measured.refused["c1"])
        assert [layer.layer for layer in measured.layers] == ["c2", "fc"]
        for layer in measured.layers:
            expected = reference_flatness(model, images, layer=layer.layer).relative_gap_flatness
            assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)
        with pytest.raises(UnsupportedHeadError, match=r"'c1'"):
            measure(model, images, layers=["c1", "c2"])
    # What is at rest, as an activation that is off for all images, is flat: its derivative is 0 where it is.
    model = CutOff(nn.Identity()).double()
    assert model.c2.bias is not None
    model.c2.bias.data -= 1e6
    measured = measure(model, images, layers="all")
    assert measured.refused == {}
    assert [layer.relative_flatness for layer in measured.layers] == [0, 0, 0]


class OnPositions(nn.Module):
    """A linear layer on (positions, images, channels), with as many positions as two."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.on_positions, self.c2, self.fc = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Linear(4, 4),
            nn.Conv2d(4, 5, 1),
            nn.Linear(5, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.c1(x))
        tokens = F.adaptive_avg_pool2d(maps, (2, 1)).flatten(2).permute(2, 0, 1)
        mixed = F.relu(self.on_positions(tokens)).mean(0)[..., None, None]
        return self.fc(F.relu(self.c2(maps + mixed)).mean((2, 3)))


def test_of_all_layers_one_on_as_many_positions_as_images_is_left_out() -> None:
    torch.manual_seed(0)
    model, images = OnPositions().double(), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    measured = measure(model, images, layers="all")
    assert [layer.layer for layer in measured.layers] == ["c1", "c2", "fc"]
    assert "works on 2 rows for" in measured.refused["on_positions"]
    for layer in measured.layers:
        expected = reference_by_gradients(model, images, layer.layer)
        assert layer.relative_flatness == pytest.approx(expected.gauss_newton_flatness, rel=1e-8)
    with pytest.raises(UnsupportedHeadError, match=r"'on_positions' \(Linear\) works on 2 rows for"):
        measure(model, images, layer="on_positions")
