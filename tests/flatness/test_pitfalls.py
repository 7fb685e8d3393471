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
from torch.utils.hooks import RemovableHandle
from torchvision.ops import DeformConv2d
from two_convolutions import Two, make_images, run_within

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import DataError, FlatselectError, ModelError
from flatselect.flatness import GapFlatness, find_head, flatness_penalty, reference_by_gradients, reference_flatness


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
    with pytest.raises(
        UnsupportedHeadError, match=r"no convolution feeds the classifier .* detach or .* after 'c2'"
    ) as caught:
        measure(model, make_images())
    assert caught.value.layer is None
    assert "layer=" not in str(caught.value), "which would not help"
    with pytest.raises(UnsupportedHeadError, match=r"no derivative leads .* back to 'c2' \(torch.no_grad or detach"):
        measure(model, make_images(), layer="c2")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            lambda m, x: m.fc(run_within(torch.inference_mode, Two.features, m, x)),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(run_within(torch.inference_mode, Two.features, m, x).clone()),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(m.features(run_within(torch.inference_mode, lambda m, x: x / 2, m, x))),
            r"'c1' \(Conv2d\) takes or gives tensors",
        ),
        (
            lambda m, x: m.fc(run_within(torch.inference_mode, lambda m, h: h / 2, m, m.features(x))),
            r"'fc' \(Linear\) takes or gives tensors",
        ),
        (
            lambda m, x: run_within(torch.inference_mode, lambda m, z: z.softmax(1), m, m.fc(m.features(x))),
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


def test_a_deformable_convolution_is_not_passed_over() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        maps = F.relu(self.c1(x))
        return self.fc(F.relu(self.deformed(maps, self.offsets(maps))).mean((2, 3)))

    model = Two(end, deformed=DeformConv2d(4, 5, 3), offsets=nn.Conv2d(4, 18, 3)).double()
    with pytest.raises(
        UnsupportedHeadError, match=r"convolution that is no module of torch.nn .* feeds the classifier"
    ):
        measure(model, make_images())


class Unlike(type):
    """Makes classes that cannot be hashed."""

    def __eq__(cls, other: object) -> bool:
        raise TypeError("not to be compared")


class Odd(metaclass=Unlike):
    pass


def test_what_a_model_keeps_in_tuples_is_put_back_and_odd_attributes_are_let_be() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        features = self.features(x)
        self.kept[0].append(features)
        return self.fc(features)

    model = Two(end).double()
    model.kept, model.odd = ([], {}), Odd()  # type: ignore[assignment]
    measure(model, make_images())
    assert model.kept == ([], {})
    copy.deepcopy(model.kept)


class HandsOn(nn.Module):
    """Normalises, and hands on every attribute of the model inside."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x - 0.5) / 0.25)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own looking
def test_a_wrapper_of_a_compiled_model_is_not_passed_over() -> None:
    model, images, _ = make_case("conv_bn_relu")
    expected = measure(HandsOn(model), images).relative_gap_flatness
    assert measure(model, images).relative_gap_flatness != pytest.approx(expected, rel=1e-3)
    compiled = torch.compile(model, backend="eager")
    assert measure(HandsOn(compiled), images).relative_gap_flatness == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


class WithCoordinates(nn.Conv2d):
    """Adds a channel to its input."""

    def forward(self, x: Tensor) -> Tensor:
        across = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype).expand(len(x), 1, *x.shape[2:])
        return super().forward(torch.cat([x, across], 1))


def test_a_convolution_that_adds_channels_to_its_input() -> None:
    def make(first: nn.Module, last: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        end = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
        return nn.Sequential(first, nn.ReLU(), last, *end).double()

    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(UnsupportedHeadError, match=r"'2' \(WithCoordinates\) does not compute the convolution"):
        measure(make(nn.Conv2d(3, 4, 3), WithCoordinates(5, 6, 3)), images)
    measured = measure(make(WithCoordinates(4, 4, 3), nn.Conv2d(4, 6, 3)), images, layers="all")
    assert measured.refused.keys() == {"0"}
    assert {layer.layer for layer in measured.layers} == {"2", "6"}


class Concatenating(nn.Conv2d):
    """Takes a list of maps."""

    def forward(self, maps: list[Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat(maps, 1))


def test_a_convolution_that_takes_a_list() -> None:
    def end(self: Two, x: Tensor) -> Tensor:
        y = F.relu(self.c1(x))
        return self.fc(F.relu(self.last([y, y])).mean((2, 3)))  # type: ignore[operator]

    model, images = Two(end, last=Concatenating(8, 5, 3)).double(), make_images()
    with pytest.raises(UnsupportedHeadError, match=r"a convolution that is no module.*layer='c1'"):
        measure(model, images)
    measured = measure(model, images, layer="c1").relative_gap_flatness
    assert measured == pytest.approx(reference_by_gradients(model, images, "c1").gauss_newton_flatness, rel=1e-8)
    with pytest.raises(UnsupportedHeadError, match="layer='last' does not run"):
        measure(model, images, layer="last")


def test_layers_of_a_network_whose_classifier_is_not_linear() -> None:
    """The classifier is an nn.Linear that computes something else with its weight: its layers have no closed form."""
    model, images, _ = make_case("cosine_classifier")
    with pytest.raises(UnsupportedHeadError, match=r"does not compute W·h \+ b.*; layer='last' measures it") as caught:
        measure(model, images)
    assert caught.value.layer == "last"
    measured = measure(model, images, layers="all")
    assert measured.refused.keys() == {"head"}
    for layer in measured.layers:
        expected = reference_by_gradients(model, images, layer.layer).gauss_newton_flatness
        assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)
        assert measure(model, images, layer=layer.layer).relative_gap_flatness == pytest.approx(expected, rel=1e-8)
    with pytest.raises(UnsupportedHeadError, match=r"does not compute W·h \+ b.* is not covered$"):
        measure(model, images, layer="head")


def test_no_layer_computes_with_its_own_weight() -> None:
    model, images, _ = make_case("cosine_classifier")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d):
            other = StandardisedConv2d(layer.in_channels, layer.out_channels, 3).double()  # type: ignore[arg-type]
            model.set_submodule(name, other)
    with pytest.raises(UnsupportedHeadError, match=r"no layer of this model can be measured: .*head.*W·h"):
        measure(model, images, layers="all")


def test_two_parameters_at_one_place_are_one_weight() -> None:
    model = Two(lambda self, x: self.fc(self.features(x)), fc=nn.Linear(5, 5)).double()
    model.c2 = nn.Conv2d(4, 5, 1).double()
    model.other = nn.Linear(4, 5).double()
    model.end = lambda self, x: self.fc(self.features(x) + self.other(x[:, :, 0, :4].mean(1)))  # type: ignore[operator]
    images = make_images()
    expected = measure(model, images, layer="c2").relative_gap_flatness
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector, model.parameters())  # one storage, each its own part of it
    assert measure(model, images, layer="c2").relative_gap_flatness == pytest.approx(expected, rel=1e-12)
    model.other.weight = nn.Parameter(model.c2.weight.data.view(5, 4))
    with pytest.raises(UnsupportedHeadError, match=r"'c2' .* shares its weight with 'other'"):
        measure(model, images, layer="c2")


def test_the_layer_to_name_instead_is_a_convolution_of_maps() -> None:
    """Not the linear layer written as a convolution of what is pooled, which stands in the way."""
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(*body, nn.Conv2d(6, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5))
    with pytest.raises(UnsupportedHeadError, match=r"'5' \(Conv2d\) stands between.*layer='2'"):
        measure(model, torch.randn(3, 3, 8, 8))


@pytest.mark.parametrize("options", [{}, {"layer": "2"}, {"layers": "all"}])
def test_what_a_sigmoid_gives_is_not_read_as_logits(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(3, 3, 8, 8)
    with pytest.raises(UnsupportedHeadError, match="sigmoid"):
        measure(nn.Sequential(*body, nn.Linear(6, 5), nn.Sigmoid()), images, **options)


def _double_gradients(_: nn.Module, *gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if gradient is None else 2 * gradient for gradient in gradients[0])


BACKWARD_HOOKS: dict[str, Callable[[nn.Module], RemovableHandle]] = {
    "full": lambda module: module.register_full_backward_hook(_double_gradients),
    "before": lambda module: module.register_full_backward_pre_hook(_double_gradients),
    "of inputs": lambda module: module.register_backward_hook(_double_gradients),
    "of all modules": lambda _: nn.modules.module.register_module_full_backward_hook(_double_gradients),
    "before, of all modules": lambda _: nn.modules.module.register_module_full_backward_pre_hook(_double_gradients),
}


@pytest.mark.parametrize("register", BACKWARD_HOOKS.values(), ids=BACKWARD_HOOKS)
@pytest.mark.parametrize("name", ["conv_bn_relu", "silu"])
def test_backward_hooks_that_change_gradients_are_set_aside(
    name: str, register: Callable[[nn.Module], RemovableHandle]
) -> None:
    """As guided backpropagation has them."""
    model, images, case = make_case(name)
    model.eval()

    def compute() -> list[float]:
        head = find_head(model, images)
        return [
            measure(model, images).relative_gap_flatness,
            measure(model, images, layers="all").relative_gap_flatness,
            flatness_penalty(model, images, head).item(),
            reference_flatness(model, images, layer=case.layer).gauss_newton_flatness,
            reference_by_gradients(model, images, case.layer).gauss_newton_flatness,
        ]

    def differentiate_images() -> Tensor:
        given = images.clone().requires_grad_()
        model(given).square().sum().backward()
        assert given.grad is not None
        return given.grad

    expected, gradient = compute(), differentiate_images()
    activation = next(module for module in model.modules() if isinstance(module, (nn.ReLU, nn.SiLU)))
    handle = register(activation)
    try:
        assert compute() == pytest.approx(expected, rel=1e-12)
        assert (differentiate_images() - gradient).abs().max() > 0.1 * gradient.abs().max()  # it works again
    finally:
        handle.remove()
    assert torch.equal(differentiate_images(), gradient)
