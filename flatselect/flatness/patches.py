"""Products of a layer's input patches, without ever forming a d×d array.

For slopes S (J×P) and patches X (P×d) of one image, everything asked for is S·X·Xᵀ·Sᵀ (J×J). Two ways lead there:
U = S·X from unfolded patches, or the P×P Gram X·Xᵀ, which is a sum over kernel offsets of shifted parts of the Gram of
pixels. Which is cheaper is a matter of sizes alone.
"""

import itertools
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


@dataclass(frozen=True)
class LayerGeometry:
    """Where a convolution of any number of axes looks; a linear layer is one with kernel 1.

    Inputs are (n_images, C_in, *size) for convolutions and (n_images, …, C_in) for linear layers, outputs likewise.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]  # before and after each axis, the last axis first, as F.pad takes it
    padding_mode: str
    groups: int
    n_input_channels: int
    n_output_channels: int
    is_channels_last: bool = False

    @classmethod
    def of(cls, layer: Layer) -> "LayerGeometry":
        if isinstance(layer, nn.Linear):
            return cls((1,), (1,), (1,), (0, 0), "zeros", 1, layer.in_features, layer.out_features, True)
        kernel_size, stride, dilation = (
            tuple(int(value) for value in values) for values in (layer.kernel_size, layer.stride, layer.dilation)
        )
        if layer.padding == "same":
            # As PyTorch does: an odd number of padded pixels has one more at the end.
            total = [step * (size - 1) for step, size in zip(dilation, kernel_size, strict=True)]
            around = [(pixels // 2, pixels - pixels // 2) for pixels in total]
        elif layer.padding == "valid":
            around = [(0, 0)] * len(kernel_size)
        else:
            around = [(int(size), int(size)) for size in layer.padding]
        return cls(
            kernel_size,
            stride,
            dilation,
            tuple(itertools.chain(*reversed(around))),
            layer.padding_mode,
            layer.groups,
            layer.in_channels,
            layer.out_channels,
        )

    @property
    def n_input_axes(self) -> int | None:
        """Axes that a batch of inputs must have; None where any number from 2 on will do."""
        return None if self.is_channels_last else len(self.kernel_size) + 2

    @property
    def n_offsets(self) -> int:
        """Pixels under a kernel."""
        return math.prod(self.kernel_size)

    @property
    def patch_size(self) -> int:
        """The number d = C_in/groups·K_1·K_2·… of weights in a kernel row."""
        return self.n_input_channels // self.groups * self.n_offsets

    def channels_first(self, values: Tensor) -> Tensor:
        """The layer's input or output as (n_images, channels, *size)."""
        if not self.is_channels_last:
            return values
        return values.flatten(1, -2).mT if values.ndim > 2 else values[:, :, None]

    def pad(self, images: Tensor) -> Tensor:
        """The input, channels first, with its padding."""
        if not any(self.padding):
            return images
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(images, self.padding, mode=mode)

    def padded_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        around = [before + after for before, after in zip(self.padding[::2], self.padding[1::2], strict=True)]
        return tuple(pixels + more for pixels, more in zip(size, reversed(around), strict=True))

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the output for that of an input."""
        return tuple(
            (pixels - step * (kernel - 1) - 1) // stride + 1
            for pixels, step, kernel, stride in zip(
                self.padded_size(size), self.dilation, self.kernel_size, self.stride, strict=True
            )
        )

    def apply(self, layer: Layer, given: Tensor) -> Tensor:
        """What the layer's own weight and bias make of an input, by the plain definition."""
        if isinstance(layer, nn.Linear):
            return F.linear(given, layer.weight, layer.bias)
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel_size) - 1]
        return convolve(self.pad(given), layer.weight, layer.bias, self.stride, 0, self.dilation, self.groups)


def make_patches(geometry: LayerGeometry, images: Tensor) -> Tensor:
    """X: the patch under every output position, (n_images, groups, d, P)."""
    n_axes = len(geometry.kernel_size)
    windows = geometry.pad(images)
    if n_axes == 2 and windows.requires_grad:  # the windows' own derivative takes twice as long
        patches: Tensor = F.unfold(windows, geometry.kernel_size, geometry.dilation, 0, geometry.stride)
        return patches.view(len(images), geometry.groups, geometry.patch_size, -1)
    for axis, (size, step, stride) in enumerate(
        zip(geometry.kernel_size, geometry.dilation, geometry.stride, strict=True)
    ):
        windows = windows.unfold(2 + axis, step * (size - 1) + 1, stride)[..., ::step]
    # (n_images, C_in, *output size, *kernel size): the kernel's axes go before the output's.
    order = (0, 1, *range(2 + n_axes, 2 + 2 * n_axes), *range(2, 2 + n_axes))
    return windows.permute(order).reshape(len(images), geometry.groups, geometry.patch_size, -1)


def make_patch_gram(geometry: LayerGeometry, images: Tensor) -> Tensor:
    """X·Xᵀ: inner products of the patches of one image, (n_images, P, P); for one group.

    ⟨x_p, x_p'⟩ = Σ_o ⟨pixel(p + o), pixel(p' + o)⟩ over kernel offsets o, so the Gram of all pixels holds every term,
    and each offset reads a strided block of it; padded zeros add nothing.
    """
    if geometry.padding_mode != "zeros":
        images, geometry = geometry.pad(images), replace(geometry, padding=(0,) * len(geometry.padding))
    n_images, size, out_size = len(images), tuple(images.shape[2:]), geometry.output_size(tuple(images.shape[2:]))
    n_positions = math.prod(out_size)
    pixels = images.flatten(2)  # (n_images, C_in, pixels)
    is_one_pixel = pixels.shape[2] == 1  # products of vectors are slow as products of matrices
    pixel_gram = pixels.square().sum(1, keepdim=True) if is_one_pixel else torch.bmm(pixels.mT, pixels)
    if out_size == size and geometry.n_offsets == 1:
        return pixel_gram
    pixel_gram = pixel_gram.view(n_images, *size, *size)
    gram = pixel_gram.new_zeros(n_images, *out_size, *out_size)
    of_axes = [
        [_find_overlap(offset * step - before, stride, n_outputs, n_pixels) for offset in range(n_offsets)]
        for n_offsets, step, before, stride, n_outputs, n_pixels in zip(
            geometry.kernel_size,
            geometry.dilation,
            geometry.padding[-2::-2],
            geometry.stride,
            out_size,
            size,
            strict=True,
        )
    ]
    for overlap in itertools.product(*of_axes):
        outputs, inside = zip(*overlap, strict=True)
        if all(along.start < along.stop for along in outputs):
            gram[(slice(None), *outputs, *outputs)] += pixel_gram[(slice(None), *inside, *inside)]
    return gram.view(n_images, n_positions, n_positions)


def _find_overlap(shift: int, stride: int, n_outputs: int, n_pixels: int) -> tuple[slice, slice]:
    """Along one axis: the output positions p whose pixel p·stride + shift lies inside the image, and these pixels."""
    first = max(0, -(shift // stride))
    end = min(n_outputs, (n_pixels - 1 - shift) // stride + 1)
    return slice(first, end), slice(first * stride + shift, end * stride + shift, stride)


def is_gram_cheaper(geometry: LayerGeometry, size: tuple[int, ...]) -> bool:
    """Whether S·(XXᵀ)·Sᵀ takes fewer multiplications than (S·X)·(S·X)ᵀ, for inputs of a size."""
    if geometry.groups > 1:
        return False
    n_channels, patch_size = geometry.n_output_channels, geometry.patch_size
    n_positions, n_pixels = math.prod(geometry.output_size(size)), math.prod(size)
    by_patches = n_channels * n_positions * patch_size + n_channels**2 * patch_size
    by_gram = (
        n_pixels**2 * geometry.n_input_channels
        # Adding a strided block takes several times as long as as many multiplications in a matrix product.
        + 8 * geometry.n_offsets * n_positions**2
        + n_channels * n_positions**2
        + n_channels**2 * n_positions
    )
    return by_gram < by_patches


class PatchProducts:
    """S·X·Xᵀ·Sᵀ of a batch as a product of two thin factors, for as many slopes S as are asked for.

    Row j of S belongs to kernel row k_j ∈ R^d. In a grouped convolution each row meets its own group's patches, and
    u_j, u_j' of different groups are paired coordinate by coordinate, as `weight.reshape(J, d)` pairs k_j and k_j'.
    """

    def __init__(self, geometry: LayerGeometry, images: Tensor, *, use_gram: bool | None = None):
        """Prepares the patches.

        Args:
            geometry: Of the layer.
            images: Its input, channels first, in the type to compute in.
            use_gram: Which of the two ways; None: the cheaper one.
        """
        self._groups = geometry.groups
        self._uses_gram = is_gram_cheaper(geometry, tuple(images.shape[2:])) if use_gram is None else use_gram
        self._patches = (make_patch_gram if self._uses_gram else make_patches)(geometry, images)

    def factorise(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """L and R, each (n_images, J, P or d), with L·Rᵀ = S·X·Xᵀ·Sᵀ, for slopes (n_images, J, P)."""
        if self._uses_gram:
            return torch.bmm(slopes, self._patches), slopes
        pooled = self.pool(slopes)
        return pooled, pooled

    def factorise_evenly(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """`factorise` with one and the same L = R where it can be had for little.

        That is for one position, by a root, which has no derivative where a patch is 0.
        """
        if self._uses_gram and slopes.shape[2] == 1:
            even = slopes * self._patches.sqrt()
            return even, even
        return self.factorise(slopes)

    def pool(self, slopes: Tensor) -> Tensor:
        """U = S·X, (n_images, J, d), for slopes (n_images, J, P); where the patches are kept, not their Gram."""
        assert not self._uses_gram
        n_images, n_channels, n_positions = slopes.shape
        by_group = slopes.reshape(n_images, self._groups, n_channels // self._groups, n_positions)
        return (by_group @ self._patches.mT).flatten(1, 2)

    @staticmethod
    def n_elements(geometry: LayerGeometry, images: Tensor, *, use_gram: bool | None = None) -> int:
        """Numbers held for one image while the factors are formed, by which batches are cut to bounded memory."""
        size = tuple(images.shape[2:])
        n_padded, n_positions = math.prod(geometry.padded_size(size)), math.prod(geometry.output_size(size))
        n_inputs, n_channels = geometry.n_input_channels, geometry.n_output_channels
        if is_gram_cheaper(geometry, size) if use_gram is None else use_gram:
            # Zeros around the images add nothing to the Gram of their pixels, and are left out.
            n_pixels = math.prod(size) if geometry.padding_mode == "zeros" else n_padded
            return n_inputs * n_pixels + n_pixels**2 + n_positions**2 + 2 * n_channels * n_positions
        return n_inputs * n_padded + geometry.patch_size * (geometry.groups * n_positions + n_channels)
