"""The call itself: what it takes, what it leaves behind, what it says."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cases import MEASURED, REFUSED, OneConvolutionBlock, make_case, sequential
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import DataError, ModelError, NonFiniteError
from flatselect.flatness import GapFlatness, find_head, reference_by_gradients
from flatselect.flatness.tail import run_tail

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def describe(model: nn.Module) -> dict[str, Any]:
    """All that a measurement could leave behind on a model, and torch's random state."""
    modules = dict(model.named_modules())
    hooks = [key for key in vars(model) if key.endswith("hooks")]
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {name: [len(getattr(module, key) or ()) for key in hooks] for name, module in modules.items()},
        "attributes": {name: set(vars(module)) for name, module in modules.items()},
        "tensors": {name: (id(t), t._version, t.device) for name, t in model.state_dict(keep_vars=True).items()},
        "values": {name: t.tolist() for name, t in model.state_dict().items()},
        "parameters": {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
        "random": torch.get_rng_state().tolist(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }


@pytest.mark.parametrize("name", [*MEASURED, *REFUSED])
def test_nothing_is_left_behind(name: str) -> None:
    model, images, case = make_case(name)
    model.train()
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    next(model.parameters()).requires_grad_(False)
    given, before = images.clone(), describe(model)
    try:
        measure(model, images)
    except UnsupportedHeadError:
        assert case.refusal
    assert describe(model) == before
    assert torch.equal(images, given)


class FailsAtBatch(nn.Module):
    def __init__(self, model: nn.Module, n_passes: int):
        super().__init__()
        self.model, self.n_passes = model, [n_passes]

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        self.n_passes[0] -= 1
        if self.n_passes[0] == 0:
            raise KeyboardInterrupt
        return output


@pytest.mark.parametrize("n_passes", [1, 2, 3, 4])
def test_nothing_is_left_behind_after_an_exception(n_passes: int) -> None:
    model = FailsAtBatch(make_case("residual")[0], n_passes).train()
    images = make_case("residual")[1]
    before = describe(model)
    with pytest.raises(KeyboardInterrupt):
        measure(model, [images, images])
    assert describe(model) == before


def test_train_mode_is_measured_in_eval_mode() -> None:
    model, images, _ = make_case("dropout")
    assert measure(model.train(), images) == measure(model.eval(), images)


def test_gradients_and_hooks_of_others_stay() -> None:
    model, images, _ = make_case("conv_bn_relu")
    model.eval()(images).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    seen: list[torch.Size] = []
    handle = model.get_submodule("last").register_forward_hook(lambda m, i, o: seen.append(o.shape))
    measure(model, images)
    assert seen
    seen.clear()
    model(images)
    assert len(seen) == 1
    handle.remove()
    assert all(torch.equal(p.grad, gradients[name]) for name, p in model.named_parameters() if p.grad is not None)
    assert len(gradients) == 7


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", ["conv_relu_in_place", "residual", "silu", "group_norm", "one_position"])
def test_the_callers_context_does_not_matter(name: str, context: Callable[[], Any]) -> None:
    model, images, _ = make_case(name)
    expected = measure(model, images)
    with context():
        assert measure(model, images) == expected
        assert measure(model, images.clone()) == expected
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert measure(model, images) == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(model, images) == expected


def test_forms_of_data_agree() -> None:
    model, images, _ = make_case("conv_bn_relu")
    images = torch.cat([images] * 3) + 0.1 * torch.randn(9, 2, 6, 6, dtype=torch.float64)
    labels = torch.arange(9)
    whole = measure(model, images, per_image=True)

    def generate() -> Iterator[Tensor]:
        yield images[:0]
        yield from images.split([1, 5, 3])

    forms: list[Any] = [
        list(images.split(2)),
        generate(),
        DataLoader(TensorDataset(images, labels), batch_size=4),
        [[images, labels, "more"]],
        (images, labels),
    ]
    for form in forms:
        measured = measure(model, form, per_image=True)
        assert measured.n_images == 9
        assert measured.relative_gap_flatness == pytest.approx(whole.relative_gap_flatness, rel=1e-12)
        assert measured.companions == pytest.approx(whole.companions, rel=1e-12)
        torch.testing.assert_close(measured.per_image_trace, whole.per_image_trace, rtol=1e-12, atol=0)
    small = measure(model, images, batch_size=2)
    assert small.relative_gap_flatness == pytest.approx(whole.relative_gap_flatness, rel=1e-12)


def test_images_of_varying_size() -> None:
    model, images, _ = make_case("conv_bn_relu")
    larger = torch.randn(2, 2, 9, 7, dtype=torch.float64)
    both = measure(model, [images, larger], per_image=True)
    apart = [measure(model, batch, per_image=True).per_image_flatness for batch in (images, larger)]
    torch.testing.assert_close(both.per_image_flatness, torch.cat([p for p in apart if p is not None]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no images were given"),
        (torch.zeros(0, 2, 6, 6), "no images were given"),
        (torch.zeros(2, 6, 6), r"batch 0 of the data is shape \(2, 6, 6\); expected a tensor of images"),
        ([torch.zeros(3, 2, 6, 6), torch.zeros(3), torch.zeros(3)], r"batch 1 of the data is shape \(3,\)"),
        ([{"image": 1}], "batch 0 of the data is dict"),
        (
            TensorDataset(torch.zeros(3, 2, 6, 6), torch.zeros(3)),
            r"batch 0 of the data is shape \(2, 6, 6\).*DataLoader",
        ),
        (None, "the data is NoneType; expected a tensor of images"),
    ],
)
def test_data_that_is_not_images(data: Any, message: str) -> None:
    model, _, _ = make_case("conv_bn_relu")
    with pytest.raises(DataError, match=message):
        measure(model, data)


def test_models_that_cannot_be_measured() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(ModelError, match=r"device=meta was asked for but the model is on cpu: .* model.to\(meta\)"):
        measure(model, images, device="meta")
    with torch.inference_mode():
        frozen = make_case("conv_bn_relu")[0]
    with pytest.raises(ModelError, match=r"'stem.weight' was made under torch.inference_mode"):
        measure(frozen, images)
    with pytest.raises(ModelError, match=r"the model is NoneType; expected a torch.nn.Module"):
        measure(None, images)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"device='nowhere' is not a device"):
        measure(model, images, device="nowhere")
    with pytest.raises(ModelError, match=r"'stem.weight' is on the meta device"):
        measure(make_case("conv_bn_relu")[0].to("meta"), images)
    with pytest.raises(DataError, match=r"batch_size=0; expected a whole number of at least 1"):
        measure(model, images, batch_size=0)
    with pytest.raises(ModelError, match=r"the model fails on images of shape \(2, 1, 6, 6\), float64: RuntimeError"):
        measure(model, images[:, :1])
    lazy = nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(ModelError, match=r"parameter '3.weight' is lazy .* run the model once"):
        measure(lazy, images.float())


def test_unknown_layer_is_named() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(
        UnsupportedHeadError, match=r"layer='nowhere' is not in the model; expected .* such as stem, last, head"
    ):
        measure(model, images, layer="nowhere")


def test_an_input_overwritten_in_place_is_measured_as_it_was() -> None:
    torch.manual_seed(0)
    apart = OneConvolutionBlock(add_in_place=False).double()
    in_place = OneConvolutionBlock(add_in_place=True).double()
    in_place.load_state_dict(apart.state_dict())
    images = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    assert measure(in_place, images).relative_gap_flatness == pytest.approx(
        measure(apart, images).relative_gap_flatness, rel=1e-12
    )


def test_a_head_that_depends_on_the_images_is_refused() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_case("conv_bn_relu")[0]

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.model(x)
            return output * 2 if bool(x.max() > 100) else output

    images = make_case("conv_bn_relu")[1]
    with pytest.raises(UnsupportedHeadError, match=r"'model.head' on some images only"):
        measure(Sometimes(), [images, images * 1000])


class Changed(nn.Module):
    """A measurable network whose features, on the way to or from its last convolution, are changed by a function."""

    def __init__(
        self, before: Callable[[Tensor], Tensor] | None = None, after: Callable[[Tensor], Tensor] | None = None
    ):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.last = nn.Conv2d(2, 4, 3).double(), nn.Conv2d(4, 5, 3).double()
        self.head = nn.Linear(5, 3).double()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.last(self.before(x) if self.before else x)
        output: Tensor = self.head((self.after(x) if self.after else x.relu()).mean((2, 3)))
        return output


@pytest.mark.parametrize("n_images", [1, 2, 5])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x / x.std(),
        lambda x: nn.functional.dropout(x, training=True),
    ],
    ids=["batch_norm", "global_scale", "dropout"],
)
def test_images_that_are_not_kept_apart_are_refused(change: Callable[[Tensor], Tensor], n_images: int) -> None:
    images = torch.randn(n_images, 2, 8, 8, dtype=torch.float64)
    assert measure(Changed(), images).n_images == n_images
    for model in (Changed(before=change), Changed(after=change)):
        with pytest.raises(
            UnsupportedHeadError, match=r"changes? with the other images of its batch|depend on the other images of the"
        ):
            measure(model, images)


def test_a_tail_that_mixes_images_a_little_is_refused() -> None:
    with pytest.raises(UnsupportedHeadError, match="between 'last' and the classifier one image's features depend on"):
        measure(Changed(after=lambda x: x + 1e-8 * x.mean(0)), torch.randn(3, 2, 8, 8, dtype=torch.float64))


def test_views_of_an_image_as_rows_are_refused() -> None:
    class Views(Changed):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([x, x.flip(3)])
            pooled = self.last(self.stem(x).relu()).relu().mean((2, 3))
            output: Tensor = self.head(pooled.unflatten(0, (2, -1)).mean(0))
            return output

    with pytest.raises(UnsupportedHeadError, match=r"'last' \(Conv2d\) works on 4 rows for 2 images"):
        measure(Views(), torch.randn(3, 2, 8, 8, dtype=torch.float64))


class OnceSwish(torch.autograd.Function):
    """Swish as memory-saving implementations write it: autograd cannot see its second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.sigmoid() * (1 + x * (1 - x.sigmoid()))


def test_a_hidden_curvature_is_not_called_a_hessian() -> None:
    images = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    hidden, open_ = measure(Changed(after=OnceSwish.apply), images), measure(Changed(after=nn.functional.silu), images)
    assert hidden.exactness == open_.exactness == "gauss_newton"
    assert hidden.relative_gap_flatness == pytest.approx(open_.relative_gap_flatness, rel=1e-9)
    assert measure(Changed(after=torch.relu), images).exactness == "hessian"


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_tail_without_derivative_is_refused() -> None:
    def checkpointed(x: Tensor) -> Tensor:
        y: Tensor = torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=True)
        return y

    model, images = Changed(after=checkpointed), torch.randn(3, 2, 8, 8, dtype=torch.float64)
    with pytest.raises(UnsupportedHeadError, match=r"inside a reentrant activation checkpoint.*use_reentrant=False"):
        measure(model, images)
    with pytest.raises(ModelError, match="cannot be differentiated between its measured layers and its output"):
        measure(model, images, layer="last")


def test_buffers_that_a_forward_pass_changes_are_put_back() -> None:
    class Counts(Changed):
        added: Tensor
        replaced: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("added", torch.zeros(1))
            self.register_buffer("replaced", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.added += 1
            self.replaced = self.replaced + 1
            return super().forward(x)

    model = Counts()
    replaced = model.replaced
    measure(model, torch.randn(3, 2, 8, 8, dtype=torch.float64))
    assert (model.added.item(), model.replaced.item()) == (0, 0)
    assert model.replaced is replaced


class BoundedConv2d(nn.Conv2d):
    """Rows of bounded norm, as in EEGNet."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.5)
        return super().forward(x)


def test_weights_that_a_forward_pass_replaces_are_put_back() -> None:
    torch.manual_seed(0)
    model = sequential(BoundedConv2d(4, 6, 3), nn.ReLU()).double()
    bounded = copy.deepcopy(model)
    images = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    bounded(images)
    before = copy.deepcopy(model.state_dict())
    assert not torch.equal(before["last.weight"], bounded.state_dict()["last.weight"])
    assert measure(model, images) == measure(bounded, images)
    expected = reference_by_gradients(model, images, "last").gauss_newton_flatness
    assert measure(model, images).relative_gap_flatness == pytest.approx(expected, rel=1e-8)
    measure(model, images, layers="all")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_dictionary_is_json() -> None:
    model, images, _ = make_case("conv_bn_relu")
    one = measure(model, images[:1], per_image=True)
    assert math.isnan(one.standard_error)
    values = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert values["standard_error"] is None
    assert values["per_image_flatness"] == [one.relative_gap_flatness]
    assert values["relative_gap_flatness"] == one.relative_gap_flatness
    assert (values["layer"], values["exactness"], values["n_images"]) == ("last", "hessian", 1)
    assert "per_image_trace" not in measure(model, images).to_dict()


def test_compiled_models_are_measured_by_their_own_names() -> None:
    model, images, _ = make_case("residual")
    assert measure(torch.compile(model, backend="eager"), images) == measure(model, images)


@pytest.mark.parametrize("name", ["conv_bn_relu", "group_norm"])
def test_batches_workers_and_one_go_agree(name: str) -> None:
    model, _, _ = make_case(name)
    images = torch.randn(11, 2, 6, 6, dtype=torch.float64)
    model.eval()
    head = find_head(model, images)

    def accumulate(parts: list[Tensor]) -> GapFlatness:
        total = GapFlatness(head)
        for part in parts:
            total.update(run_tail(model, [layer.module for layer in head.layers], head.classifier, part, []))
        return total

    workers = [accumulate(list(images[:4].split(3))), accumulate([]), accumulate(list(images[4:].split(5)))]
    merged = GapFlatness(head)
    for worker in workers:
        merged.merge(worker)
    expected, merged_measurement = measure(model, images), merged.compute()
    for value in ("relative_gap_flatness", "hessian_trace", "standard_error"):
        assert getattr(merged_measurement, value) == pytest.approx(getattr(expected, value), rel=1e-12)
    assert merged_measurement.companions == pytest.approx(expected.companions, rel=1e-12)
    with pytest.raises(DataError):
        GapFlatness(head).compute()


def test_non_finite_activations_are_named() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(NonFiniteError, match="output holds NaN or infinite values although weights and images"):
        measure(nn.Sequential(model, nn.Threshold(1e9, float("inf"))), images)


def test_a_parametrised_kernel_is_measured_as_it_acts() -> None:
    model, images, _ = make_case("conv_bn_relu")
    nn.init.uniform_(model.get_submodule("last").weight, -2, 2)
    normalised = nn.utils.parametrizations.weight_norm(model.get_submodule("last"))
    with torch.no_grad():
        normalised.parametrizations.weight.original0 *= 3
    plain = make_case("conv_bn_relu")[0]
    with torch.no_grad():
        plain.get_submodule("last").weight.copy_(normalised.weight)
    assert measure(model, images).relative_gap_flatness == pytest.approx(
        measure(plain, images).relative_gap_flatness, rel=1e-12
    )
