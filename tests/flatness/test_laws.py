"""The laws of relative GAP flatness: what must not change it, and what must."""

from collections.abc import Callable

import pytest
import torch
from cases import CASES, CLOSED_FORM, MEASURED, make_case
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from flatselect import Measurement, measure
from flatselect.flatness import find_head

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


HAS_CLASSIFIER = [name for name in MEASURED if "pooled_convolution" not in name]


def run(model: nn.Module, images: Tensor) -> Measurement:
    return measure(model, images.clone(), per_image=True)


def same(value: float) -> object:
    return pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", HAS_CLASSIFIER)
def test_a_vector_added_to_all_rows_of_the_head_changes_nothing(name: str) -> None:
    model, images, _ = make_case(name)
    before = run(model, images)
    head = find_head(model, images)
    with torch.no_grad():
        head.classifier.weight += 2 * torch.randn_like(head.classifier.weight[:1])
    after = run(model, images)
    assert after.relative_gap_flatness == same(before.relative_gap_flatness)
    assert after.hessian_trace == same(before.hessian_trace)


@pytest.mark.parametrize("name", HAS_CLASSIFIER)
def test_permuted_classes_change_nothing(name: str) -> None:
    model, images, _ = make_case(name)
    before = run(model, images)
    classifier = find_head(model, images).classifier
    order = torch.arange(len(classifier.weight)).flip(0)
    with torch.no_grad():
        classifier.weight.copy_(classifier.weight[order].clone())
        if classifier.bias is not None:
            classifier.bias.copy_(classifier.bias[order].clone())
    assert run(model, images).relative_gap_flatness == same(before.relative_gap_flatness)


@pytest.mark.parametrize("name", MEASURED)
def test_images_are_measured_one_by_one(name: str) -> None:
    model, images, _ = make_case(name)
    together = run(model, images)
    assert together.per_image_flatness is not None
    order = torch.tensor([2, 0, 1])
    apart = [run(model, images[i : i + 1]) for i in order]
    values = torch.tensor([one.relative_gap_flatness for one in apart], dtype=torch.float64)
    torch.testing.assert_close(together.per_image_flatness[order], values, rtol=1e-9, atol=0)
    assert together.relative_gap_flatness == same(float(values.mean()))
    assert together.standard_error == same(float(values.std()) / 3**0.5)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_labels_are_not_looked_at(name: str) -> None:
    model, images, _ = make_case(name)
    one, other = (measure(model, [(images.clone(), labels)]) for labels in torch.tensor([[0, 1, 2], [2, 2, 0]]))
    assert one == other


def rescale_channels(model: nn.Sequential) -> None:
    """k_j, its bias × α_j; w_j / α_j: the same function where the tail is positively homogeneous."""
    scale = torch.tensor([0.1, 3, 7, 0.5, 1, 20], dtype=torch.float64)
    last, head = model.get_submodule("last"), model.get_submodule("head")
    last.weight *= scale[:, None, None, None]
    last.bias *= scale
    head.weight /= scale


def rescale_norm(model: nn.Sequential) -> None:
    """BN's gain and bias × α_j, w_j / α_j."""
    scale = torch.tensor([0.1, 3, 7, 0.5, 1, 20], dtype=torch.float64)
    norm, head = model.get_submodule("tail0"), model.get_submodule("head")
    norm.weight *= scale
    norm.bias *= scale
    head.weight /= scale


def rescale_convolution_under_norm(model: nn.Sequential) -> None:
    """k_j × α_j, which batch norm takes out again."""
    scale = torch.tensor([0.5, 3, 7, 0.9, 1, 20], dtype=torch.float64)
    last, norm = model.get_submodule("last"), model.get_submodule("tail0")
    last.weight *= scale[:, None, None, None]
    if last.bias is not None:
        last.bias *= scale
    norm.running_mean *= scale
    norm.running_var.copy_((norm.running_var + norm.eps) * scale**2 - norm.eps)


def fold_norm(model: nn.Sequential) -> None:
    model.last = fuse_conv_bn_eval(model.get_submodule("last").eval(), model.get_submodule("tail0").eval())
    model.tail0 = nn.Identity()


def permute_channels(model: nn.Sequential) -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    last, norm, head = (model.get_submodule(name) for name in ("last", "tail0", "head"))
    last.weight.copy_(last.weight[order].clone())
    if last.bias is not None:
        last.bias.copy_(last.bias[order].clone())
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.copy_(tensor[order].clone())
    head.weight.copy_(head.weight[:, order].clone())


def rotate_patches(model: nn.Sequential) -> None:
    """x → Rx before the convolution and k_j → R k_j in it, R orthogonal: for a 1×1 kernel, a rotation of channels."""
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    turn = nn.Conv2d(4, 4, 1, bias=False).double()
    turn.weight.copy_(rotation[:, :, None, None])
    last = model.get_submodule("last")
    last.weight.copy_(torch.einsum("jc...,dc->jd...", last.weight, rotation))
    model.stem_act = nn.Sequential(nn.ReLU(), turn)


@pytest.mark.parametrize(
    ("name", "change", "keeps_trace"),
    [
        ("conv_relu", rescale_channels, False),
        ("leaky_relu", rescale_channels, False),
        ("max_pool_in_tail", rescale_channels, False),
        ("stride", rescale_norm, True),
        ("conv_bn_relu", rescale_convolution_under_norm, False),
        ("relu6_in_place", rescale_convolution_under_norm, False),
        ("conv_bn_relu", fold_norm, False),
        ("relu6_in_place", fold_norm, False),
        ("reflect", fold_norm, False),
        ("groups", fold_norm, False),
        ("conv_bn_relu", permute_channels, True),
        ("circular", permute_channels, True),
        ("instance_of_one_by_one", rotate_patches, True),
    ],
)
def test_rewriting_the_same_function(name: str, change: Callable[[nn.Module], None], keeps_trace: bool) -> None:
    model, images, _ = make_case(name)
    before, logits = run(model, images), model.eval()(images)
    with torch.no_grad():
        change(model)
    torch.testing.assert_close(model(images), logits, rtol=1e-9, atol=1e-9)
    after = run(model, images)
    assert after.relative_gap_flatness == same(before.relative_gap_flatness)
    assert (after.hessian_trace == same(before.hessian_trace)) == keeps_trace


def test_scaling_an_input_channel_against_the_kernel_does_change_flatness() -> None:
    model, images, _ = make_case("conv_bn_relu")
    before, logits = run(model, images), model.eval()(images)
    with torch.no_grad():
        model.get_submodule("stem").weight[0] *= 3
        model.get_submodule("stem").bias[0] *= 3
        model.get_submodule("last").weight[:, 0] /= 3
    torch.testing.assert_close(model(images), logits)
    assert run(model, images).relative_gap_flatness != pytest.approx(before.relative_gap_flatness, rel=1e-2)


def test_every_law_has_cases() -> None:
    assert len(CLOSED_FORM) > 40
    assert set(CLOSED_FORM) < set(MEASURED) < set(CASES)
