"""Products of the convolution's input patches, without ever forming a d×d array.

For slopes S (J×P) and patches X (P×d) of one image, everything asked for is S·X·Xᵀ·Sᵀ (J×J). Two ways lead there:
U = S·X from unfolded patches, or the P×P Gram X·Xᵀ, which is a sum over kernel offsets of shifted parts of the Gram of
pixels. Which is cheaper is a matter of sizes alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ConvolutionGeometry:
    """Where a 2-D convolution looks: all pairs are (height, width)."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]  # left, right, top, bottom, as F.pad takes it
    padding_mode: str
    groups: int
    n_input_channels: int
    n_output_channels: int

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> "ConvolutionGeometry":
        kernel_size, stride, dilation = (
            (int(pair[0]), int(pair[1])) for pair in (convolution.kernel_size, convolution.stride, convolution.dilation)
        )
        if convolution.padding == "same":
            # As PyTorch does: an odd number of padded pixels has one more on the right and at the bottom.
            total = [step * (size - 1) for step, size in zip(dilation, kernel_size, strict=True)]
            top, left = total[0] // 2, total[1] // 2
            padding = (left, total[1] - left, top, total[0] - top)
        elif convolution.padding == "valid":
            padding = (0, 0, 0, 0)
        else:
            height, width = (int(size) for size in convolution.padding)
            padding = (width, width, height, height)
        return cls(
            kernel_size,
            stride,
            dilation,
            padding,
            convolution.padding_mode,
            convolution.groups,
            convolution.in_channels,
            convolution.out_channels,
        )

    @property
    def patch_size(self) -> int:
        """The number d = C_in/groups·K_H·K_W of weights in a kernel row."""
        return self.n_input_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]

    def pad(self, images: Tensor) -> Tensor:
        """The convolution's input with its padding, (n_images, C_in, H + …, W + …)."""
        if not any(self.padding):
            return images
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(images, self.padding, mode=mode)

    def output_size(self, padded: Tensor) -> tuple[int, int]:
        """Output height and width for a padded input."""
        height, width = (
            (size - step * (kernel - 1) - 1) // stride + 1
            for size, step, kernel, stride in zip(
                padded.shape[2:], self.dilation, self.kernel_size, self.stride, strict=True
            )
        )
        return height, width


def make_patches(geometry: ConvolutionGeometry, padded: Tensor) -> Tensor:
    """X: the patch under every output position, (n_images, groups, d, P)."""
    columns = F.unfold(padded, geometry.kernel_size, dilation=geometry.dilation, stride=geometry.stride)
    return columns.view(len(columns), geometry.groups, geometry.patch_size, -1)


def make_patch_gram(geometry: ConvolutionGeometry, padded: Tensor) -> Tensor:
    """X·Xᵀ: inner products of the patches of one image, (n_images, P, P); for one group.

    ⟨x_p, x_p'⟩ = Σ_o ⟨pixel(p + o), pixel(p' + o)⟩ over kernel offsets o, so the Gram of all padded pixels holds every
    term, and each offset reads a strided rectangle of it.
    """
    n_images, _, height, width = padded.shape
    out_height, out_width = geometry.output_size(padded)
    pixels = padded.flatten(2)  # (n_images, C_in, pixels)
    pixel_gram = torch.bmm(pixels.mT, pixels).view(n_images, height, width, height, width)
    gram: Tensor | None = None
    for i in range(geometry.kernel_size[0]):
        rows = _strided(i * geometry.dilation[0], out_height, geometry.stride[0])
        for j in range(geometry.kernel_size[1]):
            columns = _strided(j * geometry.dilation[1], out_width, geometry.stride[1])
            shifted = pixel_gram[:, rows, columns, rows, columns]
            gram = shifted.clone() if gram is None else gram.add_(shifted)
    assert gram is not None
    return gram.view(n_images, out_height * out_width, out_height * out_width)


def _strided(start: int, count: int, stride: int) -> slice:
    return slice(start, start + (count - 1) * stride + 1, stride)


def is_gram_cheaper(geometry: ConvolutionGeometry, padded: Tensor) -> bool:
    """Whether S·(XXᵀ)·Sᵀ takes fewer multiplications than (S·X)·(S·X)ᵀ."""
    if geometry.groups > 1:
        return False
    n_channels, size = geometry.n_output_channels, geometry.patch_size
    out_height, out_width = geometry.output_size(padded)
    n_positions, n_pixels = out_height * out_width, padded.shape[2] * padded.shape[3]
    n_offsets = geometry.kernel_size[0] * geometry.kernel_size[1]
    by_patches = n_channels * n_positions * size + n_channels**2 * size
    by_gram = (
        n_pixels**2 * geometry.n_input_channels
        # Adding a strided rectangle takes several times as long as as many multiplications in a matrix product.
        + 8 * n_offsets * n_positions**2
        + n_channels * n_positions**2
        + n_channels**2 * n_positions
    )
    return by_gram < by_patches


class PatchProducts:
    """S·X·Xᵀ·Sᵀ of a batch as a product of two thin factors, for as many slopes S as are asked for.

    Row j of S belongs to kernel row k_j ∈ R^d. In a grouped convolution each row meets its own group's patches, and
    u_j, u_j' of different groups are paired coordinate by coordinate, as `weight.reshape(J, d)` pairs k_j and k_j'.
    """

    def __init__(self, geometry: ConvolutionGeometry, images: Tensor, *, use_gram: bool | None = None):
        """Prepares the patches.

        Args:
            geometry: Of the convolution.
            images: Its input, (n_images, C_in, H, W), in the type to compute in.
            use_gram: Which of the two ways; None: the cheaper one.
        """
        padded = geometry.pad(images)
        self._groups = geometry.groups
        self._uses_gram = is_gram_cheaper(geometry, padded) if use_gram is None else use_gram
        self._patches = (make_patch_gram if self._uses_gram else make_patches)(geometry, padded)

    def factorise(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """L and R, each (n_images, J, P or d), with L·Rᵀ = S·X·Xᵀ·Sᵀ, for slopes (n_images, J, P)."""
        if self._uses_gram:
            return torch.bmm(slopes, self._patches), slopes
        n_images, n_channels, n_positions = slopes.shape
        by_group = slopes.view(n_images, self._groups, n_channels // self._groups, n_positions)
        pooled = (by_group @ self._patches.mT).flatten(1, 2)  # U, (n_images, J, d)
        return pooled, pooled

    @staticmethod
    def n_elements(geometry: ConvolutionGeometry, images: Tensor) -> int:
        """Numbers held for one image while the factors are formed, by which batches are cut to bounded memory."""
        height = images.shape[2] + geometry.padding[2] + geometry.padding[3]
        width = images.shape[3] + geometry.padding[0] + geometry.padding[1]
        padded = images.new_empty((1, geometry.n_input_channels, height, width), device="meta")
        out_height, out_width = geometry.output_size(padded)
        n_positions, n_channels = out_height * out_width, geometry.n_output_channels
        if is_gram_cheaper(geometry, padded):
            return padded.numel() + (height * width) ** 2 + n_positions**2 + n_channels * n_positions
        return padded.numel() + geometry.patch_size * (geometry.groups * n_positions + n_channels)
