"""Where a network's arrays lie while it trains, and in which order."""

import torch
from torch import nn

# Input channels from which on oneDNN's gradient of a strided pointwise convolution stays inside its memory: the widest
# block of channels that it has, AVX-512's.
_LEAST_CHANNELS = 16


def choose_memory_format(model: nn.Module, device: torch.device | str) -> torch.memory_format:
    """Channels last, which trains convolutions 1.4 to 1.9 times as fast on a CPU too; contiguous where that crashes.

    On CPUs the weight's gradient of a 1×1 convolution with a stride and fewer than 16 input channels (AVX2: 8) is
    written past the end of oneDNN's memory where channels come last (github.com/uxlfoundation/oneDNN/issues/6035; seen
    with torch 2.7 to 2.15): the process dies, or what lies there is overwritten.
    """
    is_unsafe = torch.device(device).type == "cpu" and any(
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and set(module.stride) != {1}
        and module.in_channels // module.groups < _LEAST_CHANNELS
        for module in model.modules()
    )
    return torch.contiguous_format if is_unsafe else torch.channels_last


def move_to_device(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Moves `model` itself, its arrays in the order of `choose_memory_format`; another order may round otherwise."""
    return model.to(memory_format=choose_memory_format(model, device)).to(device)
