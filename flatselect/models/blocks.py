"""The blocks that stages of the CNN family are made of."""

from torch import Tensor, nn

_MAX_GROUPS = 8
_MIN_GROUP_CHANNELS = 4
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
}


def make_activation(name: str) -> nn.Module:
    """relu, leaky_relu, relu6 or silu."""
    return _ACTIVATIONS[name]()


def make_norm(name: str, channels: int) -> nn.Module | None:
    """Batch normalisation, group normalisation, or None for none.

    Group normalisation has the largest number of groups ≤ 8 that divides the channels and leaves four or more in each
    (one group if none does): on a map of one pixel, a group of one channel is normalised to zero and a group of two to
    ±1, and neither passes a gradient.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        divisors = [n for n in range(1, _MAX_GROUPS + 1) if channels % n == 0 and channels // n >= _MIN_GROUP_CHANNELS]
        return nn.GroupNorm(max(divisors, default=1), channels)
    return None


class ConvNormActivation(nn.Sequential):
    """Convolution → normalisation → activation, padded so that stride 1 keeps the map's size.

    Args:
        in_channels: Of the map.
        out_channels: Of the result.
        kernel_size: Odd.
        norm: batch, group or none; only without does the convolution have a bias.
        activation: None for a linear convolution.
        stride: Of the convolution.
        groups: Of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        norm: str,
        activation: str | None,
        stride: int = 1,
        groups: int = 1,
    ):
        super().__init__()
        normalization = make_norm(norm, out_channels)
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=normalization is None,
        )
        # He et al. (2015), eq. 10, by fan-in: torch's fan-out ignores groups. The smooth activations differ little.
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu" if activation else "linear")
        if normalization is not None:
            self.norm = normalization
        elif self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if activation:
            self.activation = make_activation(activation)


class DepthwiseBlock(nn.Sequential):
    """Depthwise k×k, then pointwise 1×1, each with normalisation and activation (Howard et al., 2017)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, norm: str, activation: str, stride: int = 1
    ):
        super().__init__()
        self.depthwise = ConvNormActivation(
            in_channels, in_channels, kernel_size, norm=norm, activation=activation, stride=stride, groups=in_channels
        )
        self.pointwise = ConvNormActivation(in_channels, out_channels, 1, norm=norm, activation=activation)


class ResidualBlock(nn.Module):
    """Two k×k convolutions beside a shortcut, activation after the sum (He et al., 2016, basic block).

    The shortcut is the identity, or a 1×1 convolution where the map's shape changes, of every `stride`-th pixel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, norm: str, activation: str, stride: int = 1
    ):
        super().__init__()
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormActivation(in_channels, out_channels, 1, norm=norm, activation=None)
        self.first = ConvNormActivation(
            in_channels, out_channels, kernel_size, norm=norm, activation=activation, stride=stride
        )
        self.second = ConvNormActivation(out_channels, out_channels, kernel_size, norm=norm, activation=None)
        self.activation = make_activation(activation)

    @property
    def last_conv(self) -> nn.Conv2d:
        """The convolution whose output the shortcut is added to."""
        return self.second.conv

    def forward(self, x: Tensor) -> Tensor:
        # Not a convolution of stride 2, which on CPUs crashes where it is narrow (`choose_memory_format`): as fast.
        kept = x if self.stride == 1 else x[..., :: self.stride, :: self.stride]
        return self.activation(self.second(self.first(x)) + self.shortcut(kept))  # type: ignore[no-any-return]


class InvertedResidualBlock(nn.Module):
    """1×1 expansion, depthwise k×k, linear 1×1 projection (Sandler et al., 2018).

    There is a shortcut where the map's shape stays; no activation after the sum.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        norm: str,
        activation: str,
        stride: int = 1,
        expansion: int = 4,
    ):
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvNormActivation(in_channels, hidden, 1, norm=norm, activation=activation)
        self.depthwise = ConvNormActivation(
            hidden, hidden, kernel_size, norm=norm, activation=activation, stride=stride, groups=hidden
        )
        self.project = ConvNormActivation(hidden, out_channels, 1, norm=norm, activation=None)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    @property
    def last_conv(self) -> nn.Conv2d:
        """The convolution whose output the shortcut is added to."""
        return self.project.conv

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.project(self.depthwise(self.expand(x)))
        return projected + x if self.has_shortcut else projected
