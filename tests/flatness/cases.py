"""Small networks by name, and what `measure` must make of each."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A network small enough for its full Hessian.

    `refusal` is a part of the message where it must be refused; `layer` the convolutions that must be found.
    """

    build: Callable[[], nn.Module]
    layer: str = ""
    exactness: str = "hessian"
    method: str = "closed_form"
    refusal: str = ""
    image_shape: tuple[int, ...] = (2, 6, 6)


def make_case(name: str) -> tuple[nn.Module, Tensor, Case]:
    """The case's network in float64 with lively batch norms, and three images."""
    case = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    model = case.build()
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias, std=0.5)
        if isinstance(module, nn.Linear):
            with torch.no_grad():
                module.weight *= 3
    return model.double(), torch.randn(3, *case.image_shape, dtype=torch.float64), case


def sequential(
    last: nn.Module, *tail: nn.Module, n_features: int | None = None, head: nn.Module | None = None
) -> nn.Sequential:
    """Stem, last convolution ("last"), tail, GAP, linear classifier with 4 classes ("head")."""
    n_out = getattr(last, "out_channels", 6)
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(2, 4, 3, padding=1))
    model.add_module("stem_act", nn.ReLU())
    model.add_module("last", last)
    for i, module in enumerate(tail):
        model.add_module(f"tail{i}", module)
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", head or nn.Linear(n_features or n_out, 4))
    return model


class Residual(nn.Module):
    """Two blocks, one ReLU module for all, in place; functional pooling."""

    def __init__(self, projection: bool = False, inplace: bool = True, add_in_place: bool = False):
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(5)
        self.conv1 = nn.Conv2d(5, 5, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(5)
        self.conv2 = nn.Conv2d(5, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(5, 6, 1, bias=False) if projection else None
        self.relu = nn.ReLU(inplace)
        self.fc = nn.Linear(6, 4)
        self.add_in_place = add_in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn0(self.stem(x)))
        skip = F.pad(x, (0, 0, 0, 0, 0, 1)) if self.shortcut is None else None
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.shortcut is not None:
            skip = self.shortcut(x)
        if self.add_in_place:
            skip += y
            y = skip
        else:
            y = y + skip
        return self.fc(self.relu(y).mean((2, 3)))


class OneConvolutionBlock(nn.Module):
    """x + conv(x), in place: the convolution's input is overwritten after it ran, which autograd cannot undo."""

    def __init__(self, add_in_place: bool) -> None:
        super().__init__()
        self.add_in_place = add_in_place
        self.stem = nn.Conv2d(2, 5, 3)
        self.conv = nn.Conv2d(5, 5, 3, padding=1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        if self.add_in_place:
            x += self.conv(x)
        else:
            x = x + self.conv(x)
        return self.fc(F.adaptive_avg_pool2d(F.relu_(x), 1).flatten(1))


class Parallel(nn.Module):
    """relu(bn(conv3×3(x)) + bn(conv1×1(x))), as RepVGG trains: both are the last convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.main = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5))
        self.beside = nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        main = self.main(x)
        return self.fc(F.relu(main + self.beside(x)).mean([2, 3]))


class Inception(nn.Module):
    """Branches of different depth and kernel, one of them split again, concatenated (GoogLeNet, Inception v3)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.point = nn.Conv2d(4, 3, 1)
        self.reduce = nn.Conv2d(4, 2, 1)
        self.wide = nn.Conv2d(2, 5, (1, 3), padding=(0, 1))
        self.high = nn.Conv2d(2, 4, (3, 1), padding=(1, 0))
        self.pooled = nn.Conv2d(4, 2, 1)
        self.fc = nn.Linear(14, 4)
        self.norm = nn.BatchNorm2d(14)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        reduced = F.relu(self.reduce(x))
        split = torch.cat([self.wide(reduced), self.high(reduced)], 1)
        pooled = self.pooled(F.avg_pool2d(x, 3, 1, 1))
        x = F.relu(self.norm(torch.cat([self.point(x), split, pooled], 1)))
        return self.fc(F.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1), 0.4, self.training))


class ChannelsLast(nn.Module):
    """A ConvNeXt block: depthwise convolution, then linear layers on (n, height, width, channels), scale, shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm = nn.LayerNorm(4)
        self.up = nn.Linear(4, 6)
        self.down = nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.tensor([0.5, 1.0, -2.0, 1.5])[:, None, None])
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)
        return self.fc((x + self.scale * y).mean((2, 3)))


class Dense(nn.Module):
    """Concatenation, then batch norm and ReLU over all: the last convolution feeds a slice."""

    def __init__(self, shuffle: bool = False):
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3, padding=1)
        self.conv1 = nn.Conv2d(5, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 4)
        self.shuffle = shuffle

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = torch.cat([x, F.relu(self.conv1(x))], 1)
        x = torch.cat([x, self.conv2(x)], 1)
        if self.shuffle:
            x = x.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.norm(x)), (1, 1)).flatten(1))


class SqueezeExcitation(nn.Module):
    """A gate, computed from the last convolution by convolutions or linear layers, multiplies it."""

    def __init__(self, linear: bool = False):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.last = nn.Conv2d(4, 6, 3, padding=1)
        self.down: nn.Module = nn.Linear(6, 2) if linear else nn.Conv2d(6, 2, 1)
        self.up: nn.Module = nn.Linear(2, 6) if linear else nn.Conv2d(2, 6, 1)
        self.linear = linear
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.last(F.relu(self.stem(x))))
        squeezed = x.mean((2, 3), keepdim=not self.linear)
        gate = torch.sigmoid(self.up(torch.tanh(self.down(squeezed))))
        x = x * (gate[:, :, None, None] if self.linear else gate)
        return self.fc(x.mean((2, 3)))


class PoolsOfTwoKinds(nn.Module):
    """Average and maximum of every channel side by side: two features a channel, not position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.last = nn.Conv2d(4, 3, 3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.last(F.relu(self.stem(x))))
        return self.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Blur(nn.Module):
    """Every second position of each channel smoothed by fixed numbers, as anti-aliased networks pool."""

    def __init__(self, n_channels: int):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", line.outer(line).expand(n_channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        kernel: Tensor = self.kernel
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=len(kernel))


class Functional(nn.Module):
    """Any forward pass over a stem, a last convolution and a classifier."""

    def __init__(self, forward: Callable[["Functional", Tensor], Tensor], last: nn.Module | None = None, n: int = 6):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.last = last or nn.Conv2d(4, n, 3, padding=1)
        self.fc = nn.Linear(n, 4)
        self._forward = forward

    def with_modules(self, **modules: nn.Module) -> "Functional":
        for name, module in modules.items():
            self.add_module(name, module)
        return self

    def with_parameter(self, name: str, *shape: int) -> "Functional":
        self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        return self

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.last(F.relu(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


class StandardisedConv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class CosineLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class ConvolutionTwice(Functional):
    def __init__(self) -> None:
        super().__init__(lambda self, x: self.fc(F.relu(self.last(F.relu(self.last(self.stem(x))))).mean((2, 3))))
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 4)


class OnCopies(nn.Module):
    """The model on copies of the images: some work in place on what they are given."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x.clone())
        return output


def attend(query: nn.Module, maps: Tensor) -> Tensor:
    """Attention pooling: the mean position asks all positions."""
    tokens = maps.flatten(2).mT
    weights = (query(tokens.mean(1))[:, None] * tokens).sum(2).softmax(1)
    return (weights[..., None] * tokens).sum(1)


def conv(**options: object) -> nn.Conv2d:
    """The last convolution, 4 to 6 channels, 3×3 unless told otherwise."""
    return nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1, **options})  # type: ignore[arg-type]


def bn_relu(inplace: bool = False) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(6), nn.ReLU(inplace)


def plain(last: nn.Module, *tail: nn.Module) -> Case:
    return Case(lambda: sequential(*copy.deepcopy((last, *(tail or bn_relu())))), "last")


CASES: dict[str, Case] = {
    "conv_relu": plain(conv(), nn.ReLU()),
    "conv_relu_in_place": plain(conv(), nn.ReLU(inplace=True)),
    "conv_only": plain(conv(), nn.Identity()),
    "conv_bn_relu": plain(conv(bias=False)),
    "bn_without_affine": plain(conv(), nn.BatchNorm2d(6, affine=False), nn.ReLU()),
    "relu6_in_place": plain(conv(), nn.BatchNorm2d(6), nn.ReLU6(inplace=True)),
    "leaky_relu": plain(conv(), nn.LeakyReLU(0.2)),
    "prelu": plain(conv(), nn.PReLU(6)),
    "hardtanh": plain(conv(), nn.Hardtanh()),
    "max_pool_in_tail": plain(conv(), nn.ReLU(), nn.MaxPool2d(2)),
    "average_pool_in_tail": plain(conv(), nn.BatchNorm2d(6), nn.AvgPool2d(3, 2, 1), nn.ReLU()),
    "dropout": plain(conv(), nn.ReLU(), nn.Dropout2d(0.5)),
    "instance_of_one_by_one": plain(conv(kernel_size=1, padding=0)),
    "stride": plain(conv(stride=2)),
    "asymmetric_stride": plain(conv(stride=(1, 3), padding=(0, 2))),
    "dilation": plain(conv(dilation=2, padding=2)),
    "asymmetric_kernel": plain(conv(kernel_size=(1, 4), padding=(0, 1))),
    "padding_same_even_kernel": plain(conv(kernel_size=(2, 4), padding="same")),
    "padding_same_dilated": plain(conv(kernel_size=2, dilation=3, padding="same")),
    "padding_valid": plain(conv(padding="valid")),
    "circular": plain(conv(padding_mode="circular", padding=(2, 1))),
    "reflect": plain(conv(padding_mode="reflect", padding=2)),
    "replicate": plain(conv(padding_mode="replicate", padding="same", kernel_size=(3, 2))),
    "large_kernel_small_map": plain(conv(kernel_size=5, padding=2, stride=3)),
    "groups": plain(conv(groups=2)),
    "depthwise": plain(conv(out_channels=4, groups=4), nn.BatchNorm2d(4), nn.ReLU()),
    "depthwise_multiplier": plain(conv(out_channels=8, groups=4, stride=2), nn.ReLU()),
    "one_position": Case(lambda: sequential(conv(stride=8), *bn_relu()), "last"),
    "no_head_bias": Case(lambda: sequential(conv(), nn.ReLU(), head=nn.Linear(6, 4, bias=False)), "last"),
    "dropout_before_head": Case(
        lambda: sequential(conv(), nn.ReLU(), head=nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))), "last"
    ),
    "two_classes": Case(lambda: sequential(conv(), *bn_relu(), head=nn.Linear(6, 2)), "last"),
    "global_max_pool": Case(lambda: Functional(lambda self, x: self.fc(self.last(self.stem(x)).amax((2, 3)))), "last"),
    "sum_pool_and_functional_relu": Case(
        lambda: Functional(lambda self, x: self.fc(F.relu(self.last(F.relu(self.stem(x)))).sum((-1, -2)))), "last"
    ),
    "softmax_in_model": Case(lambda: Functional(lambda self, x: self.fc(self.features(x)).softmax(-1)), "last"),
    "log_softmax_in_model": Case(lambda: Functional(lambda self, x: self.fc(self.features(x)).log_softmax(1)), "last"),
    "normalises_images_in_place": Case(
        lambda: Functional(lambda self, x: self.fc(self.features(x.sub_(0.1).div_(0.7)))), "last"
    ),
    "blur_pool": Case(
        lambda: Functional(
            lambda self, x: self.fc(self.blur(F.relu(self.last(self.stem(x)))).mean((2, 3)))
        ).with_modules(blur=Blur(6)),
        "last",
    ),
    "residual": Case(Residual, "conv2"),
    "residual_projection": Case(lambda: Residual(projection=True), "conv2"),
    "residual_added_in_place": Case(lambda: Residual(projection=True, add_in_place=True), "conv2"),
    "parallel": Case(Parallel, "main.0 + beside.0"),
    "inception": Case(Inception, "wide + high + pooled + point"),
    "block_of_one": Case(lambda: OneConvolutionBlock(add_in_place=False), "conv"),
    "dense": Case(Dense, "conv2"),
    "dense_shuffled": Case(lambda: Dense(shuffle=True), "conv2"),
    "channel_permutation": Case(
        lambda: Functional(lambda self, x: self.fc(self.features(x)[:, [3, 0, 5, 1, 4, 2]])), "last"
    ),
    "channels_in_pairs": Case(
        lambda: Functional(
            lambda self, x: self.fc(F.pad(self.features(x).unflatten(1, (2, 3)).sum(1), (0, 3))),
        ),
        "last",
    ),
    "channels_last": Case(ChannelsLast, "down"),
    "one_axis": Case(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3),
            nn.ReLU(),
            nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=2, padding_mode="circular"),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        ),
        "2",
        image_shape=(2, 11),
    ),
    "one_axis_same": Case(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3),
            nn.ReLU(),
            nn.Conv1d(4, 6, 4, groups=2, padding="same"),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        ),
        "2",
        image_shape=(2, 9),
    ),
    "three_axes": Case(
        lambda: nn.Sequential(
            nn.Conv3d(2, 3, 2),
            nn.ReLU(),
            nn.Conv3d(3, 5, (2, 3, 1), stride=(2, 1, 1), padding=(1, 0, 1)),
            nn.BatchNorm3d(5),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        ),
        "2",
        image_shape=(2, 4, 5, 4),
    ),
    "three_axes_grouped": Case(
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 2),
            nn.ReLU(),
            nn.Conv3d(4, 4, 2, groups=4, padding="same", padding_mode="replicate"),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(4, 4),
        ),
        "2",
        image_shape=(2, 4, 3, 4),
    ),
    "gated_pointwise_of_one_position": Case(  # a small image's map is one position before any pooling
        lambda: Functional(
            lambda self, x: self.fc(
                F.relu(self.last((maps := F.relu(self.stem(x))) * self.gate(maps.mean((2, 3), True)))).mean((2, 3))
            ),
            last=nn.Conv2d(4, 6, 1),
        ).with_modules(
            stem=nn.Conv2d(2, 4, 6),
            gate=nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Sigmoid()),
        ),
        "last",
    ),
    # the classifier is a convolution, or there is none
    "convolution_of_pooled_map": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(6, 4, 1),
            nn.Flatten(),
        ),
        "2",
    ),
    "convolution_of_pooled_map_read_at_its_one_position": Case(
        lambda: Functional(
            lambda self, x: self.fc(F.relu(self.last(self.stem(x))).mean((2, 3), keepdim=True))[:, :, 0, 0]
        ).with_modules(fc=nn.Conv2d(6, 4, 1)),
        "last",
    ),
    "pooled_convolution": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(4, 5, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        "3",
    ),
    "pooled_convolution_of_one_position": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 6), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        "2",
    ),
    "softmax_of_pooled_convolution": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Softmax(1),
        ),
        "2",
        "gauss_newton",
        "class_jacobians",
    ),
    # smooth tails: the Gauss-Newton part
    "silu": Case(lambda: sequential(conv(), nn.BatchNorm2d(6), nn.SiLU()), "last", "gauss_newton"),
    "gelu": Case(lambda: sequential(conv(), nn.GELU()), "last", "gauss_newton"),
    "elu": Case(lambda: sequential(conv(), nn.ELU()), "last", "gauss_newton"),
    "hardswish": Case(lambda: sequential(conv(), nn.Hardswish()), "last", "gauss_newton"),
    "softplus_residual": Case(
        lambda: Functional(lambda self, x: self.fc(F.softplus(self.last(self.stem(x))).mean((2, 3)))),
        "last",
        "gauss_newton",
    ),
    "instance_norm": Case(lambda: sequential(conv(), nn.InstanceNorm2d(6), nn.ReLU()), "last", "gauss_newton"),
    # tails that mix channels
    "group_norm": Case(
        lambda: sequential(conv(), nn.GroupNorm(2, 6), nn.ReLU()), "last", "gauss_newton", "class_jacobians"
    ),
    "group_norm_of_grouped": Case(
        lambda: sequential(conv(groups=2), nn.GroupNorm(3, 6), nn.ReLU()), "last", "gauss_newton", "class_jacobians"
    ),
    "layer_norm_of_features": Case(
        lambda: sequential(conv(), nn.ReLU(), head=nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 4))),
        "last",
        "gauss_newton",
        "class_jacobians",
    ),
    "squeeze_excitation": Case(SqueezeExcitation, "last", "gauss_newton", "class_jacobians"),
    "squeeze_excitation_linear": Case(
        lambda: SqueezeExcitation(linear=True), "last", "gauss_newton", "class_jacobians"
    ),
    "channel_mixing_but_linear": Case(
        lambda: Functional(lambda self, x: self.fc(self.features(x) + self.features(x).roll(1, 1))),
        refusal="runs 2 times",
    ),
    "rolled_sum": Case(
        lambda: Functional(lambda self, x: (lambda h: self.fc(h + h.roll(1, 1)))(self.features(x))),
        "last",
        "hessian",
        "class_jacobians",
    ),
    "concatenated_relu": Case(  # each position feeds one of two features, which one being a matter of the image
        lambda: Functional(
            lambda self, x: self.fc(F.relu(torch.cat([y := self.last(F.relu(self.stem(x))), -y], 1)).mean((2, 3)))
        ).with_modules(fc=nn.Linear(12, 4)),
        "last",
        "hessian",
        "class_jacobians",
    ),
    "average_and_maximum": Case(PoolsOfTwoKinds, "last", "hessian", "class_jacobians"),
    # refused
    "flattened_map": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(12, 4)),
        refusal="flattened map",
    ),
    "several_linear_layers": Case(
        lambda: sequential(conv(), nn.ReLU(), head=nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))),
        refusal="'head.0' (Linear) stands between",
    ),
    "pooling_before_last_convolutions": Case(  # MobileNetV3, GhostNet: linear layers written as 1×1 convolutions
        lambda: sequential(
            conv(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(6, 5, 1),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 6, 1),
            nn.ReLU(),
        ),
        refusal="'tail5' (Conv2d) stands between",
    ),
    "maximum_before_last_convolution": Case(
        lambda: Functional(
            lambda self, x: self.fc(F.relu(self.last(F.relu(self.stem(x)).amax((2, 3), keepdim=True))).flatten(1)),
            last=nn.Conv2d(4, 6, 1),
        ),
        refusal="'last' (Conv2d) stands between",
    ),
    "linear_layers_on_tokens": Case(
        lambda: Functional(
            lambda self, x: self.fc((maps := self.last(F.relu(self.stem(x))).flatten(2).mT).add(self.mix(maps)).mean(1))
        ).with_modules(mix=nn.Linear(6, 6)),
        refusal="'mix' (Linear) stands between",
    ),
    "no_convolution": Case(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), refusal="no convolution feeds"),
    "scaled_logits": Case(
        lambda: Functional(lambda self, x: 2.5 * self.fc(self.features(x))), refusal="an operation after 'fc' (Linear)"
    ),
    "tuple_output": Case(lambda: Functional(lambda self, x: (self.fc(self.features(x)),)), refusal="returns tuple"),
    "convolution_twice": Case(ConvolutionTwice, refusal="runs 2 times"),
    "classifier_twice": Case(
        lambda: Functional(lambda self, x: self.fc(self.features(x)) if self.fc(self.features(x) + 1).sum() else x),
        refusal="runs several times",
    ),
    "weight_standardised": Case(
        lambda: sequential(StandardisedConv2d(4, 6, 3), nn.ReLU()), refusal="weight standardisation"
    ),
    "cosine_classifier": Case(
        lambda: sequential(conv(), nn.ReLU(), head=CosineLinear(6, 4)),
        refusal="does not compute W·h + b with its own weight",
    ),
    "functional_convolution": Case(
        lambda: Functional(
            lambda self, x: self.fc(F.relu(F.conv2d(self.stem(x), self.last.weight, padding=1)).mean((2, 3)))
        ),
        refusal="a convolution that is no module of torch.nn",
    ),
    "functional_convolution_of_each_channel": Case(
        lambda: Functional(
            lambda self, x: self.fc(F.relu(F.conv2d(self.last(self.stem(x)), self.kernel * 2, groups=6)).mean((2, 3)))
        ).with_parameter("kernel", 6, 1, 2, 2),
        refusal="a convolution that is no module of torch.nn",
    ),
    "transposed_convolution": Case(
        lambda: sequential(nn.ConvTranspose2d(4, 6, 3), nn.ReLU()),
        refusal="is not an nn.Conv1d, nn.Conv2d, nn.Conv3d or nn.Linear",
    ),
    "batch_statistics": Case(
        lambda: sequential(conv(), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU()),
        refusal="depend on the other images of the batch",
    ),
    "sigmoid": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid()
        ),
        refusal="lies between 0 and 1 and is not a softmax",
    ),
    "attention_pooling": Case(
        lambda: Functional(
            lambda self, x: self.fc(self.proj(attend(self.query, F.relu(self.last(F.relu(self.stem(x)))))))
        ).with_modules(query=nn.Linear(6, 6), proj=nn.Linear(6, 6)),
        refusal="'proj' (Linear) stands between",
    ),
    "shared_weight": Case(
        lambda: _share_weight(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 2))),
        refusal="shares its weight with '1'",
    ),
}


def _share_weight(model: nn.Sequential) -> nn.Sequential:
    model[2].weight = model[1].weight
    return model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)])


MEASURED = [name for name, case in CASES.items() if not case.refusal]
CLOSED_FORM = [name for name in MEASURED if CASES[name].method == "closed_form"]
REFUSED = [name for name, case in CASES.items() if case.refusal]
