"""Any convolution under any piecewise-linear tail: the closed form against a per-class sum by autograd."""

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flatselect import measure

TAILS = {
    "relu": lambda n: [nn.ReLU(inplace=True)],
    "bn_relu6": lambda n: [nn.BatchNorm2d(n), nn.ReLU6()],
    "leaky_pool": lambda n: [nn.LeakyReLU(0.3), nn.AvgPool2d(2, ceil_mode=True)],
    "bn_max_pool": lambda n: [nn.BatchNorm2d(n), nn.MaxPool2d(2, ceil_mode=True)],
    "none": lambda n: [],
}


def sum_over_classes(model: nn.Module, weight: Tensor, images: Tensor) -> tuple[float, float]:
    """κ = Σ_c p_c ‖Kᵀ(T_c − T̄)‖² and its trace, T_c = ∂z_c/∂K by autograd, image by image."""
    kernel = weight.detach().flatten(1)
    flatness = trace = 0.0
    for image in images:
        logits = model(image[None])[0]
        p = logits.detach().softmax(0)
        rows = torch.stack([torch.autograd.grad(z, weight, retain_graph=True)[0].flatten(1) for z in logits])
        rows = rows - torch.einsum("c,cjd->jd", p, rows)
        trace += float((p * rows.square().sum((1, 2))).sum())
        if kernel.shape[0] < kernel.shape[1]:  # ‖KᵀR‖² = ⟨KKᵀ, RRᵀ⟩
            flatness += float((p * (kernel @ kernel.mT * (rows @ rows.mT)).sum((1, 2))).sum())
        else:
            flatness += float((p * (kernel.mT @ rows).square().sum((1, 2))).sum())
    return flatness / len(images), trace / len(images)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, nn.Conv2d, Tensor]:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    n_in, n_out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 4))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    last = nn.Conv2d(
        n_in,
        n_out,
        kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"])),
    )
    tail = TAILS[draw(st.sampled_from(sorted(TAILS)))](n_out)
    model = nn.Sequential(
        nn.Conv2d(1, n_in, 3), nn.ReLU(), last, *tail, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(n_out, draw(st.integers(2, 6)), bias=draw(st.booleans())),
    )  # fmt: skip
    return (
        model.double().eval(),
        last,
        torch.randn(2, 1, *draw(st.tuples(st.integers(10, 13), st.integers(10, 13)))).double(),
    )


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_any_piecewise_linear_head(network: tuple[nn.Module, nn.Conv2d, Tensor]) -> None:
    model, last, images = network
    measured = measure(model, images)
    flatness, trace = sum_over_classes(model, last.weight, images)
    assert measured.exactness == "hessian"
    assert measured.relative_gap_flatness == pytest.approx(flatness, rel=1e-9, abs=1e-30)
    assert measured.hessian_trace == pytest.approx(trace, rel=1e-9, abs=1e-30)


@pytest.mark.parametrize("size", [32, 64])
def test_resnet_of_real_width(size: int) -> None:
    torch.manual_seed(0)
    model = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5).double().eval()
    images = torch.randn(1, 3, size, size, dtype=torch.float64)
    measured = measure(model, images)
    flatness, trace = sum_over_classes(model, model.layer4[0].conv2.weight, images)
    assert measured.layer == "layer4.0.conv2"
    assert measured.relative_gap_flatness == pytest.approx(flatness, rel=1e-9)
    assert measured.hessian_trace == pytest.approx(trace, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "layer", "exactness"),
    [
        ("resnet18", "layer4.1.conv2", "hessian"),
        ("densenet121", "features.denseblock4.denselayer16.conv2", "hessian"),
        ("mobilenet_v2", "features.18.0", "hessian"),
        ("shufflenet_v2_x0_5", "conv5.0", "hessian"),
        ("regnet_y_400mf", "trunk_output.block4.block4-5.f.c.0", "hessian"),
        ("efficientnet_b0", "features.8.0", "gauss_newton"),
    ],
)
def test_torchvision_families(name: str, layer: str, exactness: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, num_classes=3).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for module in model.modules():  # untrained, their activations fade to nothing on the way
            if isinstance(module, nn.BatchNorm2d):
                module.train()
                module.momentum = None
        model(torch.randn(8, 3, 64, 64, dtype=torch.float64))
    model.eval()
    measured = measure(model, images)
    weight = model.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    flatness, trace = sum_over_classes(model, weight, images)
    assert (measured.layer, measured.exactness, measured.method) == (layer, exactness, "closed_form")
    assert measured.relative_gap_flatness == pytest.approx(flatness, rel=1e-9)
    assert measured.hessian_trace == pytest.approx(trace, rel=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_gpu_agrees_with_cpu(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, num_classes=10).double()
    images = torch.randn(8, 3, 64, 64, dtype=torch.float64)
    on_cpu = measure(model, images)
    state = torch.cuda.get_rng_state()
    on_gpu = measure(model.cuda(), images, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert (on_gpu.layer, on_gpu.exactness) == (on_cpu.layer, on_cpu.exactness)
    assert on_gpu.relative_gap_flatness == pytest.approx(on_cpu.relative_gap_flatness, rel=1e-8)
    assert on_gpu.companions == pytest.approx(on_cpu.companions, rel=1e-8)


@pytest.mark.parametrize(("name", "convolution", "norm"), [
    ("resnet18", "layer4.1.conv2", "layer4.1.bn2"),
    ("mobilenet_v2", "features.18.0", "features.18.1"),
    ("googlenet", "inception5b.branch2.1.conv", "inception5b.branch2.1.bn"),
])  # fmt: skip
def test_folding_a_real_networks_last_norm_changes_nothing(name: str, convolution: str, norm: str) -> None:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=4, **options).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.train()(torch.randn(8, 3, 64, 64, dtype=torch.float64))
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    before = measure(model, images)
    model.eval()
    folded = torch.nn.utils.fusion.fuse_conv_bn_eval(model.get_submodule(convolution), model.get_submodule(norm))
    model.set_submodule(convolution, folded)
    model.set_submodule(norm, nn.Identity())
    after = measure(model, images)
    assert after.layer == before.layer
    assert before.relative_gap_flatness > 1e-6
    assert after.relative_gap_flatness == pytest.approx(before.relative_gap_flatness, rel=1e-9)
    assert after.hessian_trace != pytest.approx(before.hessian_trace, rel=1e-3)
