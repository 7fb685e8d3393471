"""The built-in family `cnn`: stages of blocks, global average pooling, one linear layer."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from flatselect.config import CnnArchitecture
from flatselect.models.blocks import (
    ConvNormActivation,
    DepthwiseBlock,
    InvertedResidualBlock,
    ResidualBlock,
    make_activation,
)


class GapCnn(nn.Module):
    """A convolutional network that ends in convolution → norm → (+ shortcut) → activation → pooling → linear.

    A stem convolution, then `stages` stages of `depth` blocks; stage s = 0, 1, … has round(width · width_growth^s)
    channels, and each stage after the first starts by halving the map: an odd side is rounded up, so a map of side 1
    stays and images of any size work.

    Args:
        architecture: What each of its fields says.
        in_channels: Of the images.
        n_classes: Logits.
    """

    def __init__(self, architecture: CnnArchitecture, in_channels: int, n_classes: int):
        super().__init__()
        widths = [max(1, round(architecture.width * architecture.width_growth**s)) for s in range(architecture.stages)]
        norm, activation = architecture.norm, architecture.activation
        self.stem = ConvNormActivation(
            in_channels, widths[0], architecture.kernel_size, norm=norm, activation=activation
        )
        self.stages = nn.Sequential(
            *(
                _make_stage(architecture, widths[max(s - 1, 0)], width, is_downsampling=s > 0)
                for s, width in enumerate(widths)
            )
        )
        self.last: nn.Module = nn.Identity()
        if architecture.last_conv1x1:
            self.last = ConvNormActivation(widths[-1], widths[-1], 1, norm=norm, activation=activation)
        elif architecture.block == "inverted_residual":
            # These blocks end linearly; the pooling of a linear map would make the last convolution superfluous.
            self.last = make_activation(activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(architecture.dropout)
        self.classifier = nn.Linear(widths[-1], n_classes)
        nn.init.zeros_(self.classifier.bias)
        if norm == "none":
            self._damp_branches()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n_images, n_classes) of images (n_images, in_channels, height, width)."""
        x = self.last(self.stages(self.stem(images)))
        return self.classifier(self.dropout(self.flatten(self.pool(x))))  # type: ignore[no-any-return]

    @torch.no_grad()
    def _damp_branches(self) -> None:
        """Scales each residual branch by 1/√n_blocks.

        Without normalisation each sum would double the variance, 2^n_blocks in all; so it grows at most e-fold.
        """
        blocks = [block for block in self.modules() if isinstance(block, ResidualBlock | InvertedResidualBlock)]
        for block in blocks:
            block.last_conv.weight.mul_(len(blocks) ** -0.5)


def _make_stage(
    architecture: CnnArchitecture, in_channels: int, out_channels: int, *, is_downsampling: bool
) -> nn.Sequential:
    strides = is_downsampling and architecture.downsampling == "stride"
    stage = nn.Sequential()
    if is_downsampling and architecture.downsampling == "max_pool":
        stage.append(nn.MaxPool2d(2, ceil_mode=True))
    if is_downsampling and architecture.downsampling == "average_pool":
        stage.append(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
    for position in range(architecture.depth):
        first = position == 0
        stage.append(
            _make_block(
                architecture, in_channels if first else out_channels, out_channels, stride=2 if first and strides else 1
            )
        )
    return stage


def _make_block(architecture: CnnArchitecture, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    blocks: dict[str, Callable[..., nn.Module]] = {
        "plain": ConvNormActivation,
        "residual": ResidualBlock,
        "depthwise": DepthwiseBlock,
        "inverted_residual": partial(InvertedResidualBlock, expansion=architecture.expansion),
    }
    return blocks[architecture.block](
        in_channels,
        out_channels,
        architecture.kernel_size,
        norm=architecture.norm,
        activation=architecture.activation,
        stride=stride,
    )
