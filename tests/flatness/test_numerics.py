"""The closed form where numbers are extreme, and its two ways to the same products."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from cases import CLOSED_FORM, make_case
from torch import Tensor, nn

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import NonFiniteError
from flatselect.flatness import closed_form, find_head, flatness_penalty, reference_flatness
from flatselect.flatness.patches import LayerGeometry, PatchProducts, is_gram_cheaper, make_patches
from flatselect.measures import split_softmax

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_patch_gram_and_patches_agree(name: str) -> None:
    model, images, _ = make_case(name)
    layer = find_head(model, images).layers[0].module
    geometry = LayerGeometry.of(layer)
    if geometry.groups > 1:
        pytest.skip("only patches serve groups")
    size = (7, 9, 5)[: len(geometry.kernel_size)]
    given = torch.randn(2, geometry.n_input_channels, *size, dtype=torch.float64)
    if isinstance(layer, torch.nn.Linear):
        given = given.movedim(1, -1)
    outputs = layer(given)
    slopes = torch.randn_like(outputs).detach()
    first, flat = geometry.channels_first(given), geometry.channels_first(slopes).flatten(2)
    by_gram, by_patches = (
        torch.bmm(left, right.mT)
        for left, right in (PatchProducts(geometry, first, use_gram=use).factorise(flat) for use in (True, False))
    )
    torch.testing.assert_close(by_gram, by_patches, rtol=1e-10, atol=1e-10)
    # U_j is the gradient of Σ_p s_jp a_jp in k_j.
    pooled = [
        torch.autograd.grad((outputs[i] * slopes[i]).sum(), layer.weight, retain_graph=True)[0].flatten(1)
        for i in (0, 1)
    ]
    by_autograd = torch.stack([u @ u.mT for u in pooled])
    torch.testing.assert_close(by_gram, by_autograd, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_patches_to_differentiate_are_the_same(name: str) -> None:
    model, images, _ = make_case(name)
    geometry = LayerGeometry.of(find_head(model, images).layers[0].module)
    given = torch.randn(2, geometry.n_input_channels, *(8, 9, 6)[: len(geometry.kernel_size)], dtype=torch.float64)
    plain = make_patches(geometry, given)
    weights = torch.randn_like(plain)
    given.requires_grad_()
    patches = make_patches(geometry, given)
    assert torch.equal(patches, plain)
    # The derivative of Σ ⟨w, x⟩ over the patches: by a linear function's own differences.
    (gradient,) = torch.autograd.grad(patches, given, weights)
    direction = torch.randn_like(given)
    moved = (make_patches(geometry, direction.detach()) * weights).sum()
    torch.testing.assert_close((gradient * direction).sum(), moved, rtol=1e-10, atol=1e-10)


def test_the_cheaper_way_is_a_matter_of_size() -> None:
    wide = LayerGeometry.of(torch.nn.Conv2d(512, 512, 3, padding=1))
    assert is_gram_cheaper(wide, (7, 7))
    narrow = LayerGeometry.of(torch.nn.Conv2d(4, 6, 3, padding=1))
    assert not is_gram_cheaper(narrow, (64, 64))


@pytest.mark.parametrize("name", ["conv_bn_relu", "one_position", "dense", "groups"])
def test_chunks_of_any_size_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, _ = make_case(name)
    images = torch.cat([images, images.flip(0) * 1.5])
    whole = measure(model, images)
    monkeypatch.setattr(closed_form, "_CACHED_ELEMENTS", 1)
    monkeypatch.setattr(closed_form.iterate_chunks, "__defaults__", (1,))
    assert measure(model, images).relative_gap_flatness == pytest.approx(whole.relative_gap_flatness, rel=1e-12)


def scale_logits(name: str, factor: float, dtype: torch.dtype) -> tuple[torch.nn.Module, Tensor]:
    model, images, _ = make_case(name)
    head = find_head(model, images).classifier
    with torch.no_grad():
        head.weight *= factor
        head.bias *= factor
    return model.to(dtype), images.to(dtype)


@pytest.mark.parametrize("name", ["conv_bn_relu", "group_norm"])
@pytest.mark.parametrize("factor", [30.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_softmax_does_not_cancel(name: str, factor: float, dtype: torch.dtype) -> None:
    """Sure beyond machine precision, κ is still right: compared with sums in 60 decimal digits."""
    model, images = scale_logits(name, factor, dtype)
    measured = measure(model, images, per_image=True)
    model = model.double()
    images = images.double()
    head = find_head(model, images)
    weight = head.layers[0].module.weight
    kernel = weight.detach().flatten(1)
    assert measured.per_image_flatness is not None
    for i, image in enumerate(images):
        logits = model.eval()(image[None])[0]
        jacobian = torch.stack(
            [torch.autograd.grad(z, weight, retain_graph=True)[0].flatten(1) for z in logits]
        )  # (C, J, d)
        top = int(logits.argmax())
        difference = jacobian - jacobian[top]
        log_odds = (logits - logits[top]).detach()
        odds = log_odds.exp()  # p_c / p_top, without the top one 1 to machine precision
        # κ = ½ Σ_cc' p_c p_c' ‖Kᵀ(T_c − T_c')‖²; all terms are positive, so that nothing cancels.
        total = torch.zeros((), dtype=torch.float64)
        for c in range(len(logits)):
            for other in range(len(logits)):
                pair = odds[c] * odds[other] / odds.sum() ** 2
                total += 0.5 * pair * (kernel.mT @ (difference[c] - difference[other])).square().sum()
        tolerance = 1e-9 if dtype == torch.float64 else 1e-3  # float32 logits of size 100 are off by 1e-5 themselves
        assert measured.per_image_flatness[i].item() == pytest.approx(total.item(), rel=tolerance)
        assert total > 0


def test_split_softmax_is_softmax() -> None:
    logits = torch.randn(50, 7, dtype=torch.float64) * 5
    split = split_softmax(logits)
    p = logits.softmax(1)
    torch.testing.assert_close(split.top_probability, p.amax(1))
    torch.testing.assert_close(split.gini, 1 - p.square().sum(1))
    certain = split_softmax(torch.tensor([[0.0, -200.0, -201.0]]))
    assert certain.rest.item() == pytest.approx(1.3838965267367376e-87 + 5.0910e-88, rel=1e-4)
    assert certain.gini.item() == pytest.approx(2 * certain.rest.item(), rel=1e-9)


@pytest.mark.parametrize("name", ["conv_bn_relu", "residual", "depthwise", "group_norm"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models(name: str, dtype: torch.dtype) -> None:
    model, images, case = make_case(name)
    exact = measure(model, images)
    half = measure(model.to(dtype), images)
    assert (half.layer, half.method, half.exactness) == (case.layer, case.method, case.exactness)
    assert half.relative_gap_flatness == pytest.approx(exact.relative_gap_flatness, rel=0.15)


def test_one_class_is_flat() -> None:
    for name in ("conv_bn_relu", "group_norm"):
        model, images, _ = make_case(name)
        model.head = torch.nn.Linear(6, 1).double()
        measured = measure(model, images)
        assert (measured.relative_gap_flatness, measured.hessian_trace) == (0, 0)


def test_a_last_norm_of_zero_gain_is_flat() -> None:
    model, images, _ = make_case("residual")
    torch.nn.init.zeros_(model.bn2.weight)
    assert measure(model, images).relative_gap_flatness == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(value: float) -> None:
    for name in ("stem.weight", "last.bias", "tail0.running_var", "head.weight"):
        model, images, _ = make_case("conv_relu" if name == "last.bias" else "conv_bn_relu")
        with torch.no_grad():
            model.state_dict()[name].flatten()[0] = value
        with pytest.raises(NonFiniteError, match=f"weight '{name}' of the model, .* holds 1 NaN or infinite value,"):
            measure(model, images)
    model, images, _ = make_case("conv_bn_relu")
    images[1, 0, 2, 3] = value
    with pytest.raises(NonFiniteError, match=r"batch 0 of the images, .* the first at \[1, 0, 2, 3\]"):
        measure(model, images)
    images = torch.cat([images[[0, 2]], images[[1]]])
    with pytest.raises(NonFiniteError, match=r"batch 1 of the images, .* the first at \[0, 0, 2, 3\]"):
        measure(model, [images[:2], images[2:]])


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 6e4), (torch.float32, 3e38)])
def test_what_overflows_on_later_images_alone_is_named(dtype: torch.dtype, value: float) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    nn.init.ones_(model[0].weight)
    images = torch.randn(12, 1, 8, 8)
    images[9] = value
    with pytest.raises(NonFiniteError, match=r"input of layer '1', .* holds 108 .* the first at \[9, 0, 0, 0\]"):
        measure(model.to(dtype), images.to(dtype), batch_size=8)


@pytest.mark.parametrize("name", ["conv_relu", "group_norm"])
@pytest.mark.parametrize(("kernel", "head"), [(1e25, 1e-25), (1e-30, 1.0), (1.0, 1e-30), (1e-15, 1e-15)])
def test_numbers_of_any_size_in_float32(name: str, kernel: float, head: float) -> None:
    """What over- or underflows float32 is computed in float64."""
    model, images, _ = make_case(name)
    with torch.no_grad():
        model.get_submodule("last").weight *= kernel
        model.get_submodule("head").weight *= head
        if (bias := model.get_submodule("last").bias) is not None:
            bias *= kernel
    single = measure(model.float(), images.float())
    double = measure(model.double(), images.float().double())
    assert double.relative_gap_flatness > 0
    assert single.relative_gap_flatness == pytest.approx(double.relative_gap_flatness, rel=1e-4)
    assert single.hessian_trace == pytest.approx(double.hessian_trace, rel=1e-4)


def test_overflow_is_said() -> None:
    model, images, _ = make_case("conv_relu")
    with torch.no_grad():
        model.get_submodule("last").weight *= 1e200
        model.get_submodule("head").weight *= 1e-200
    with pytest.raises(NonFiniteError, match="flatness of layer 'last' overflows: its weights or activations"):
        measure(model, images)


class Changed(nn.Module):
    """A network whose output was changed after it was classified."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.model(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "change", [lambda z: z / 2, lambda z: 0.95 * z, torch.sigmoid, torch.tanh, lambda z: z + 0.1 * z.flip(1)]
)
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_an_output_that_is_not_the_classifiers_is_refused(
    change: Callable[[Tensor], Tensor], scale: float, dtype: torch.dtype
) -> None:
    """However small the logits are, and in whatever precision."""
    model, images, _ = make_case("conv_bn_relu")
    model(images)
    classifier = model.get_submodule(find_head(model, images).classifier_name)
    for parameter in classifier.parameters():
        parameter.data *= scale
    model.to(dtype)
    if torch.equal(change(model(images.to(dtype))), model(images.to(dtype))):
        pytest.skip("in this precision nothing is changed")
    expected = "logits of a softmax" if change is torch.sigmoid else "the output of an nn.Linear on pooled features"
    with pytest.raises(UnsupportedHeadError, match=f"expected {expected}"):
        measure(Changed(model, change), images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "change", [lambda z: z.softmax(1), lambda z: z.log_softmax(1), lambda z: z.float().softmax(1), lambda z: z.float()]
)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_the_softmax_of_the_classifier_is_its_in_any_precision(
    change: Callable[[Tensor], Tensor], scale: float, dtype: torch.dtype
) -> None:
    model, images, _ = make_case("conv_bn_relu")
    classifier = model.get_submodule(find_head(model, images).classifier_name)
    for parameter in classifier.parameters():
        parameter.data *= scale
    model.to(dtype)
    expected = measure(model, images).relative_gap_flatness
    assert measure(Changed(model, change), images).relative_gap_flatness == pytest.approx(expected, rel=1e-6)


def test_logits_of_few_images_that_add_up_to_one_are_no_probabilities() -> None:
    """Half precision is coarse enough for it, where a ReLU leaves no logit negative (SqueezeNet)."""

    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.c1, self.c2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3))

    model, images = Positive().double(), torch.randn(8, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        sums = model(images).sum(1)
    near = images[sums.argsort()][3:4]
    model.c2.weight.data /= sums.sort().values[3]
    assert model.c2.bias is not None
    model.c2.bias.data /= sums.sort().values[3]
    assert model(near).sum().item() == pytest.approx(1, abs=1e-12)
    expected = reference_flatness(model, near, layer="c2").relative_gap_flatness  # which takes all for logits
    assert measure(model, near).relative_gap_flatness == pytest.approx(expected, rel=1e-8)
    assert measure(model, near).exactness == "hessian"
    half = copy.deepcopy(model).bfloat16()
    assert 0.9 < half(near.bfloat16()).sum().item() < 1.1
    # Activations are rounded at each layer; the logarithm of its logits would make it seventeen times as large.
    assert measure(half, near).relative_gap_flatness == pytest.approx(expected, rel=0.15)


def test_half_precision_holds_large_maps() -> None:
    """∂(P·h)/∂a for P = 256² is more than float16 holds; a P that it rounds is no part of the result."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    for size in (17, 256):
        images = torch.randn(1, 3, size, size)
        exact = measure(model, images).relative_gap_flatness
        for dtype in (torch.float16, torch.bfloat16):
            half = copy.deepcopy(model).to(dtype)
            rounded = measure(copy.deepcopy(half).float(), images.to(dtype).float()).relative_gap_flatness
            assert measure(half, images).relative_gap_flatness == pytest.approx(rounded, rel=0.003)
            assert measure(half, images).relative_gap_flatness == pytest.approx(exact, rel=0.05)
            penalty = flatness_penalty(half, images.to(dtype), find_head(half, images))
            assert penalty.item() == pytest.approx(rounded, rel=0.003)
