"""The order of numbers in memory in which a CPU runs a network quickest."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flatselect.flatness.patches import LayerGeometry

# Types that oneDNN computes with; torch's own convolutions take up to 1.6 times as long with channels last.
_DTYPES = (torch.float32, torch.bfloat16)
# Weights of a kernel row for each position it acts at from which on oneDNN takes longer with channels last, up to 2.4
# times (3×3 kernels of 256 channels on maps of 2×2 to 4×4, of 1024 up to 7×7; measured with AVX-512).
_WEIGHTS_PER_POSITION = 128


class ChannelsLast:
    """Gives a model on a CPU its images with channels last, in which order most layers are quicker.

    A pass takes 0.35 to 1.0 times as long (torch's max pooling alone 0.06 times) and computes the same, rounded
    otherwise. Convolutions on maps too small for it are given theirs contiguous, and so are group norms: torch's takes
    the variance as E[x²] − E[x]² where channels come last, of which rounding may leave nothing.
    """

    def __init__(self, model: nn.Module, handles: list[RemovableHandle]):
        """Puts hooks on convolutions.

        Args:
            model: Undisturbed.
            handles: Receives the hooks, so that they go also after an exception.
        """
        # What is compiled for one order would be compiled again for the other, which takes longer than any pass.
        is_compiled = any(
            module._compiled_call_impl is not None or "_orig_mod" in module._modules for module in model.modules()
        )
        self._is_wanted = torch.backends.mkldnn.is_available() and not is_compiled
        self._handles = handles
        for module in model.modules() if self._is_wanted else ():
            if isinstance(module, nn.Conv2d):
                n_positions = LayerGeometry.of(module).patch_size // _WEIGHTS_PER_POSITION
                if n_positions:
                    hook = partial(_make_small_maps_contiguous, n_positions)
                    handles.append(module.register_forward_pre_hook(hook))
            elif isinstance(module, nn.GroupNorm):
                handles.append(module.register_forward_pre_hook(_make_contiguous))

    def lay_out(self, images: Tensor) -> Tensor:
        """The images with channels last, where that is quicker; else as they are."""
        is_covered = images.ndim == 4 and images.device.type == "cpu" and images.dtype in _DTYPES
        if not (self._is_wanted and is_covered):
            return images
        _, n_channels, height, width = images.shape
        if n_channels == 1:  # in both orders at once: only the strides say which is meant
            return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
        return images.contiguous(memory_format=torch.channels_last)

    def give_up(self) -> bool:
        """From now on leaves images as they are; all hooks go. Whether that makes any difference."""
        was_wanted, self._is_wanted = self._is_wanted, False
        while self._handles:
            self._handles.pop().remove()
        return was_wanted


def _make_small_maps_contiguous(
    most_positions: int, layer: nn.Module, args: tuple[Tensor, ...]
) -> tuple[Tensor, ...] | None:
    assert isinstance(layer, nn.Conv2d)
    if not args or math.prod(args[0].shape[2:]) > most_positions * math.prod(layer.stride):
        return None
    return _make_contiguous(layer, args)


def _make_contiguous(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return (args[0].contiguous(), *args[1:]) if args else None
