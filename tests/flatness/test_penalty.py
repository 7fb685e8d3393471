"""The penalty is what `measure` measures, and its gradient is right in every parameter of the model."""

from collections.abc import Callable

import pytest
import torch
from cases import MEASURED, make_case
from test_measure import describe
from torch import Tensor, nn

from flatselect import measure
from flatselect.errors import ModelError, UnsupportedHeadError
from flatselect.flatness import Head, find_head, flatness_penalty

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


class Penalty(nn.Module):
    """The penalty as a module, so that `functional_call` can put other parameters into the model."""

    def __init__(self, model: nn.Module, head: Head):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor) -> Tensor:
        return flatness_penalty(self.model, images, self.head)

    def of_parameters(self, names: list[str], images: Tensor) -> tuple[Callable[..., Tensor], list[Tensor]]:
        own = dict(self.model.named_parameters())
        values = [own[name].detach().clone().requires_grad_() for name in names]

        def compute(*given: Tensor) -> Tensor:
            replaced = {f"model.{name}": value for name, value in zip(names, given, strict=True)}
            return torch.func.functional_call(self, replaced, (images,))  # type: ignore[no-any-return]

        return compute, values


def make_penalty(name: str) -> tuple[nn.Module, Tensor, Head]:
    """In evaluation mode, where the penalty is `measure`'s own number."""
    model, images, _ = make_case(name)
    return model.eval(), images, find_head(model, images)


@pytest.mark.parametrize("name", MEASURED)
def test_equals_measure(name: str) -> None:
    model, images, head = make_penalty(name)
    penalty = flatness_penalty(model, images, head)
    assert penalty.shape == ()
    assert penalty.requires_grad
    assert penalty.item() == pytest.approx(measure(model, images).relative_gap_flatness, rel=1e-9)


@pytest.mark.parametrize("name", MEASURED)
def test_the_gradient_is_the_slope_of_measure(name: str) -> None:
    """Along a random direction in all parameters together, each of a size of its own."""
    model, images, head = make_penalty(name)
    parameters = list(model.parameters())
    flatness_penalty(model, images, head).backward()
    assert all(parameter.grad is not None for parameter in parameters)
    directions = [torch.randn_like(parameter) * parameter.detach().abs().mean() for parameter in parameters]
    expected = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True))
    step, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
        values.append(measure(model, images).relative_gap_flatness)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


# Parameters of: the stem, the kernel and its bias, batch norm, the classifier.
GRADCHECKED = {
    "conv_bn_relu": ["stem.weight", "last.weight", "tail0.weight", "tail0.bias", "head.weight", "head.bias"],
    "conv_relu_in_place": ["stem.bias", "last.weight", "last.bias", "head.weight"],
    "prelu": ["stem.weight", "last.weight", "tail0.weight", "head.weight"],
    "silu": ["stem.weight", "last.weight", "last.bias", "tail0.weight", "tail0.bias", "head.weight"],
    "instance_norm": ["stem.weight", "last.weight", "head.weight"],
    "groups": ["stem.weight", "last.weight", "tail0.weight", "tail0.bias", "head.weight"],
    "residual": ["stem.weight", "bn0.weight", "conv1.weight", "conv2.weight", "bn2.weight", "bn2.bias", "fc.weight"],
    "residual_projection": ["stem.weight", "conv2.weight", "bn2.weight", "shortcut.weight", "fc.weight"],
    "dense": ["stem.weight", "conv1.weight", "conv2.weight", "norm.weight", "norm.bias", "fc.weight"],
    "channels_in_pairs": ["stem.weight", "last.weight", "fc.weight"],
    "one_position": ["stem.bias", "last.weight", "tail0.weight", "head.weight"],
    "group_norm": ["stem.weight", "last.weight", "tail0.weight", "tail0.bias", "head.weight", "head.bias"],
    "squeeze_excitation": ["stem.weight", "last.weight", "down.weight", "up.weight", "fc.weight"],
    "average_and_maximum": ["stem.weight", "last.weight", "fc.weight"],
}


@pytest.mark.parametrize("name", GRADCHECKED)
def test_gradients_by_numerical_differences(name: str) -> None:
    model, images, head = make_penalty(name)
    compute, values = Penalty(model, head).of_parameters(GRADCHECKED[name], images[:2])
    gradients = torch.autograd.grad(compute(*values), values)
    assert all(bool(gradient.any()) for gradient in gradients)
    assert torch.autograd.gradcheck(compute, values, eps=1e-6, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", ["conv_bn_relu", "silu", "group_norm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [10.0, 300.0, 1e4])
def test_a_network_sure_of_itself_has_a_finite_gradient(name: str, dtype: torch.dtype, factor: float) -> None:
    model, images, head = make_penalty(name)
    with torch.no_grad():
        head.classifier.weight *= factor
    penalty = flatness_penalty(model.to(dtype), images, head)
    penalty.backward()
    assert penalty.isfinite()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["conv_bn_relu", "group_norm"])
def test_a_nearly_sure_network_has_an_exact_gradient(name: str) -> None:
    """At 1 − p_top = 10⁻³⁰ both κ and its gradient are proportional to it: κ'/κ is that of log(1 − p_top), −1 a nat."""
    model, images, head = make_penalty(name)
    assert head.classifier.bias is not None
    with torch.no_grad():
        head.classifier.bias[0] += 70
    one = images[:1]
    penalty = flatness_penalty(model, one, head)
    assert 0 < penalty < 1e-25
    assert penalty.item() == pytest.approx(measure(model, one).relative_gap_flatness, rel=1e-9)
    (gradient,) = torch.autograd.grad(penalty, head.classifier.bias)
    relative = gradient / penalty.detach()
    assert float(relative[0]) == pytest.approx(-1, rel=1e-9)
    assert float(relative.sum()) == pytest.approx(0, abs=1e-9)  # a number added to all logits does nothing


def test_float32_agrees_with_float64() -> None:
    model, images, head = make_penalty("residual")
    exact = torch.autograd.grad(flatness_penalty(model, images, head), list(model.parameters()))
    model, images, head = model.float(), images.float(), find_head(model.float(), images.float())
    single = torch.autograd.grad(flatness_penalty(model, images, head), list(model.parameters()))
    for one, other in zip(single, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_a_wide_layers_gradient_in_float32_agrees_with_float64() -> None:
    """Wide enough, and with enough images, for every product to be run as the convolution it can be."""
    torch.manual_seed(0)
    tails: list[list[nn.Module]] = [[nn.ReLU()], [nn.GroupNorm(4, 160)]]
    for tail in tails:
        model = nn.Sequential(
            nn.Conv2d(3, 160, 3),
            nn.Conv2d(160, 160, 3),
            *tail,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(160, 3),
        )
        images = torch.randn(48, 3, 6, 6)
        gradients: list[list[Tensor]] = []
        for dtype in (torch.float32, torch.float64):
            model = model.to(dtype)
            head = find_head(model, images.to(dtype))
            penalty = flatness_penalty(model, images.to(dtype), head)
            gradients.append(list(torch.autograd.grad(penalty, list(model.parameters()))))
        for single, double in zip(*gradients, strict=True):
            torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=2e-6 * double.abs().max().item())


@pytest.mark.parametrize("name", MEASURED)
def test_nothing_is_left_behind(name: str) -> None:
    model, images, _ = make_case(name)
    head = find_head(model, images)
    model.train()
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    given, before = images.clone(), describe(model)
    torch.autograd.grad(flatness_penalty(model, images, head), head.layers[0].module.weight)
    assert describe(model) == before
    assert torch.equal(images, given)


def test_nothing_is_left_behind_by_a_failure() -> None:
    model, _, head = make_penalty("conv_bn_relu")
    before = describe(model.train())
    with pytest.raises(ModelError, match=r"fails on images of shape \(3, 5, 6, 6\)"):
        flatness_penalty(model, torch.zeros(3, 5, 6, 6), head)
    assert describe(model) == before


def test_a_head_that_the_pass_leaves_out_is_refused() -> None:
    _, _, head = make_penalty("conv_bn_relu")
    other, images, _ = make_case("residual")
    with pytest.raises(UnsupportedHeadError, match="'last' ran 0 times"):
        flatness_penalty(other, images, head)


def test_a_frozen_network_is_penalised_in_what_is_not() -> None:
    model, images, head = make_penalty("conv_bn_relu")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == "head.weight")
    flatness_penalty(model, images, head).backward()
    assert head.classifier.weight.grad is not None
    assert head.classifier.weight.grad.any()
    assert head.layers[0].module.weight.grad is None


def test_one_class_is_flat() -> None:
    model, images, _ = make_case("conv_relu")
    model.head = nn.Linear(6, 1).double()
    penalty = flatness_penalty(model, images, find_head(model, images))
    penalty.backward()
    assert penalty == 0


WITH_BATCH_NORM = ["conv_bn_relu", "bn_without_affine", "average_pool_in_tail", "groups", "residual", "dense", "silu"]


def adopt_batch_statistics(model: nn.Module, images: Tensor) -> None:
    """Makes the batch's statistics, layer by layer, the running ones."""

    def adopt(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        layer.running_var, layer.running_mean = torch.var_mean(args[0].detach(), (0, 2, 3), correction=0)

    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [layer.register_forward_pre_hook(adopt) for layer in layers]
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_in_training_batch_norms_go_by_the_batch(name: str) -> None:
    model, images, head = make_penalty(name)
    penalty = flatness_penalty(model.train(), images, head)
    assert penalty.item() != pytest.approx(measure(model, images).relative_gap_flatness, rel=1e-2)
    adopt_batch_statistics(model, images)
    assert penalty.item() == pytest.approx(measure(model, images).relative_gap_flatness, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in GRADCHECKED if name in WITH_BATCH_NORM])
def test_gradients_go_through_the_batchs_statistics(name: str) -> None:
    model, images, head = make_penalty(name)
    compute, values = Penalty(model.train(), head).of_parameters(GRADCHECKED[name], images)
    assert torch.autograd.gradcheck(compute, values, eps=1e-6, atol=1e-7, rtol=1e-5)


def test_a_scale_that_batch_norm_undoes_is_not_penalised() -> None:
    """κ does not change with the scale of a kernel before a batch norm; with running statistics it would seem to."""
    model, images, head = make_penalty("conv_bn_relu")
    kernel = head.layers[0].module.weight
    model.tail0.eps = 1e-12
    (running,) = torch.autograd.grad(flatness_penalty(model, images, head), kernel)
    (batch,) = torch.autograd.grad(flatness_penalty(model.train(), images, head), kernel)
    assert float((running * kernel).sum().detach().abs()) > 0.1
    torch.testing.assert_close((batch * kernel).flatten(1).sum(1), torch.zeros(6).double(), rtol=0, atol=1e-9)


def test_a_frozen_batch_norm_keeps_its_running_statistics() -> None:
    model, images, head = make_penalty("conv_bn_relu")
    expected = flatness_penalty(model, images, head)
    model.train()
    model.tail0.eval()
    assert flatness_penalty(model, images, head).item() == expected.item()
