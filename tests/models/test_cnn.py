import itertools

import pytest
import torch
from torch import nn

from flatselect.config import CnnArchitecture, DataSection
from flatselect.data import load_training_set
from flatselect.models import GapCnn, build_model, count_parameters

BLOCKS = ["plain", "residual", "depthwise", "inverted_residual"]
NORMS = ["batch", "group", "none"]
ACTIVATIONS = ["relu", "leaky_relu", "relu6", "silu"]
DOWNSAMPLINGS = ["stride", "max_pool", "average_pool"]


def make_cnn(in_channels=1, n_classes=3, **architecture):
    torch.manual_seed(0)
    return GapCnn(CnnArchitecture(**{"width": 4, **architecture}), in_channels, n_classes)


def find_last_conv(model):
    """The convolution on the main path whose output the pooling sees, by the construction of each block."""
    block = model.stages[-1][-1]
    if not isinstance(model.last, nn.Identity) and hasattr(model.last, "conv"):
        return model.last.conv
    return {
        "ConvNormActivation": lambda: block.conv,
        "ResidualBlock": lambda: block.second.conv,
        "DepthwiseBlock": lambda: block.pointwise.conv,
        "InvertedResidualBlock": lambda: block.project.conv,
    }[type(block).__name__]()


@pytest.mark.parametrize("block", BLOCKS)
def test_every_combination_is_trained_through(block):
    images = torch.randn(3, 1, 8, 8)
    for norm, activation, downsampling, last in itertools.product(NORMS, ACTIVATIONS, DOWNSAMPLINGS, [False, True]):
        model = make_cnn(
            stages=3, block=block, norm=norm, activation=activation, downsampling=downsampling, last_conv1x1=last
        )
        logits = model(images)
        assert logits.shape == (3, 3)
        logits.square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        assert (find_last_conv(model).weight.grad != 0).any()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 28, 33])
@pytest.mark.parametrize("downsampling", DOWNSAMPLINGS)
@pytest.mark.parametrize("block", ["plain", "inverted_residual"])
def test_maps_are_halved_and_never_vanish(block, downsampling, side):
    model = make_cnn(stages=4, depth=2, block=block, downsampling=downsampling).eval()
    sides = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
    assert model(torch.zeros(1, 1, side, side)).shape == (1, 3)
    assert sides == [-(-side // 2**stage) for stage in range(4)]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("block", BLOCKS)
def test_what_follows_the_last_convolution_acts_on_each_channel_alone(block, norm, last):
    model = make_cnn(width=6, block=block, norm=norm, last_conv1x1=last).eval()
    pooled = []
    model.flatten.register_forward_hook(lambda _m, _i, output: pooled.append(output[0]))
    images = torch.randn(1, 1, 8, 8)
    model(images)
    for channel in (0, 7):

        def raise_channel(_module, _inputs, output, channel=channel):
            moved = output.clone()
            moved[:, channel] += 5
            return moved

        handle = find_last_conv(model).register_forward_hook(raise_channel)
        model(images)
        handle.remove()
        changed = (pooled[-1] != pooled[0]).nonzero().flatten().tolist()
        assert changed == [channel]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_pooling_sees_activated_maps(block, last):
    model = make_cnn(block=block, last_conv1x1=last).eval()
    maps = []
    model.pool.register_forward_hook(lambda _m, inputs, _o: maps.append(inputs[0]))
    model(torch.randn(8, 1, 8, 8))
    assert (maps[0] == 0).any()
    assert (maps[0] >= 0).all()


def test_widths_grow_by_stage():
    model = make_cnn(width=10, width_growth=1.5, stages=4)
    assert [stage[-1].conv.out_channels for stage in model.stages] == [10, 15, 22, 34]
    assert model.classifier.in_features == 34


def test_depth_kernel_expansion_and_dropout_are_taken():
    model = make_cnn(depth=3, kernel_size=5, block="inverted_residual", expansion=6, dropout=0.3)
    assert [len(stage) for stage in model.stages] == [3, 3]
    assert model.stages[0][0].depthwise.conv.kernel_size == (5, 5)
    assert model.stages[0][0].expand.conv.out_channels == 24
    assert model.dropout.p == 0.3


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (4, 1), (7, 1), (8, 2), (12, 3), (16, 4), (22, 2), (32, 8), (36, 6), (64, 8)]
)
def test_groups_divide_the_channels_and_hold_four_each(channels, groups):
    norm = make_cnn(width=channels, stages=1, norm="group").stem.norm
    assert norm.num_groups == groups
    assert isinstance(norm, nn.GroupNorm)


@pytest.mark.parametrize("block", BLOCKS)
def test_group_norm_on_maps_of_one_pixel_passes_a_gradient(block):
    model = make_cnn(width=8, width_growth=1.0, stages=4, norm="group", block=block)
    model(torch.randn(5, 1, 8, 8)).square().sum().backward()
    assert model.stem.conv.weight.grad.abs().mean() > 1e-3


def test_convolutions_have_a_bias_only_without_norm():
    for norm in NORMS:
        convs = [m for m in make_cnn(norm=norm, block="residual").modules() if isinstance(m, nn.Conv2d)]
        assert len(convs) == 6
        assert all((conv.bias is not None) == (norm == "none") for conv in convs)


@pytest.mark.parametrize(
    ("block", "norm"),
    [*itertools.product(BLOCKS, ["batch", "group"]), ("residual", "none"), ("inverted_residual", "none")],
)
def test_signals_neither_explode_nor_die_with_depth(block, norm):
    model = make_cnn(3, width=16, stages=2, depth=12, block=block, norm=norm)
    maps = []
    model.pool.register_forward_hook(lambda _m, inputs, _o: maps.append(inputs[0]))
    model(torch.randn(8, 3, 16, 16))
    assert 0.05 < maps[0].std() < 20


def test_no_residual_branch_starts_at_zero():
    for norm in NORMS:
        for block in make_cnn(block="residual", norm=norm, depth=2).modules():
            if hasattr(block, "last_conv"):
                assert block.last_conv.weight.std() > 0
                assert norm == "none" or (block.second.norm.weight == 1).all()


def test_weights_are_functions_of_the_global_seed():
    one, same = make_cnn().state_dict(), make_cnn().state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    torch.manual_seed(1)
    other = build_model("cnn", {"width": 4}, (1, 8, 8), 3).state_dict()
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])


def test_parameters_are_those_of_the_formula():
    model = make_cnn(in_channels=3, width=8, stages=2, n_classes=10)
    stem, first, second = 3 * 8 * 9 + 16, 8 * 8 * 9 + 16, 8 * 16 * 9 + 32
    assert count_parameters(model) == stem + first + second + 16 * 10 + 10


@pytest.mark.parametrize("block", BLOCKS)
def test_digits_are_learned(block):
    dataset = load_training_set(DataSection(train="digits", size=900), seed=0)
    model = make_cnn(n_classes=10, width=12, block=block)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for epoch in range(4):
        for images, labels in dataset.batches(32, "cpu", shuffle_seed=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    model.eval()
    images, labels = next(dataset.batches(900, "cpu"))
    assert (model(images).argmax(1) == labels).float().mean() > 0.8
