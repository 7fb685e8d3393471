"""A measured layer's kernel rows and inputs, as they are computed with."""

import torch
from torch import Tensor

from flatselect.flatness.folded_gram import FoldedGram
from flatselect.flatness.head import MeasuredLayer
from flatselect.flatness.patches import LayerGeometry


class LayerWeights:
    """Kernel rows in the type asked for; with each input channel's standard deviation moved into them, if given.

    The weight is read when it is needed, after a forward pass: weight norms and pruning by hooks make it anew in each.
    """

    def __init__(self, layer: MeasuredLayer, input_std: Tensor | None):
        self.geometry = LayerGeometry.of(layer.module)
        self.dtype = torch.float64 if layer.module.weight.dtype == torch.float64 else torch.float32
        self._module = layer.module
        self._input_std = input_std
        self._folded_grams: dict[torch.dtype, FoldedGram] = {}
        self._kernel_grams: dict[torch.dtype, Tensor] = {}

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """K, (J, d); each input channel multiplied by what the input is divided by."""
        kernel = self._module.weight.detach().flatten(1).to(dtype)
        if self._input_std is None:
            return kernel
        std = self._input_std.to(kernel.device)
        # A row of a grouped convolution meets its own group's channels.
        by_row = std.view(self.geometry.groups, -1).repeat_interleave(len(kernel) // self.geometry.groups, 0)
        return (kernel.double() * by_row.repeat_interleave(self.geometry.n_offsets, 1)).to(dtype)

    def folded_gram(self, dtype: torch.dtype) -> FoldedGram:
        """KKᵀ, (J, J)."""
        if dtype not in self._folded_grams:
            self._folded_grams[dtype] = FoldedGram(self.kernel(dtype))
        return self._folded_grams[dtype]

    def kernel_gram(self, dtype: torch.dtype) -> Tensor:
        """KKᵀ, (J, J)."""
        if dtype not in self._kernel_grams:
            self._kernel_grams[dtype] = self.folded_gram(dtype).unfold()
        return self._kernel_grams[dtype]

    def prepare_input(self, given: Tensor, dtype: torch.dtype) -> Tensor:
        """The layer's input, channels first."""
        images = self.geometry.channels_first(given).to(dtype)
        if self._input_std is None:
            return images
        return images / self._input_std.to(images.device, dtype).view(-1, *[1] * (images.ndim - 2))
