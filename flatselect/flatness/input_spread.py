"""How much each input channel of the measured layers varies over the data, for `normalize_inputs`."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flatselect.flatness.head import Head
from flatselect.flatness.model_state import run_model
from flatselect.flatness.patches import LayerGeometry
from flatselect.flatness.tail import first_input


def find_input_stds(
    model: nn.Module, head: Head, batches: Iterable[Tensor], handles: list[RemovableHandle]
) -> list[Tensor]:
    """The standard deviation σ_i of every input channel over images and positions, padding not counted.

    Dividing input channel i by σ_i and multiplying the kernel's weights on it by σ_i leaves the function as it is
    (Petzka et al. 2021 normalise features so). A channel that does not vary is left as it is: σ_i = 1.

    Args:
        model: Undisturbed.
        head: Whose layers are looked at.
        batches: All images, as the model takes them.
        handles: Receives the hooks, so that they go also after an exception.

    Returns:
        σ for every layer, (C_in,) float64.
    """
    sums = [_ChannelSums(LayerGeometry.of(layer.module)) for layer in head.layers]
    own: list[RemovableHandle] = []
    for layer, of_layer in zip(head.layers, sums, strict=True):

        def note(
            _: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], of_layer: "_ChannelSums" = of_layer
        ) -> None:
            of_layer.add(first_input(args, kwargs))

        own.append(layer.module.register_forward_pre_hook(note, with_kwargs=True))
    handles.extend(own)
    for batch in batches:
        run_model(model, batch)
    for handle in own:
        handle.remove()
        handles.remove(handle)
    return [of_layer.std() for of_layer in sums]


class _ChannelSums:
    """Count, mean and sum of squared deviations of each channel, batch joined to batch without cancellation."""

    def __init__(self, geometry: LayerGeometry):
        self._geometry = geometry
        self._count = 0
        self._mean = self._squares = torch.zeros(geometry.n_input_channels, dtype=torch.float64)

    def add(self, given: Tensor) -> None:
        values = self._geometry.channels_first(given).double().transpose(0, 1).flatten(1)  # (C_in, n)
        n, mean = values.shape[1], values.mean(1)
        squares = (values - mean[:, None]).square().sum(1).cpu()
        shift = mean.cpu() - self._mean
        total = self._count + n
        self._squares = self._squares + squares + shift.square() * (self._count * n / total)
        self._mean = self._mean + shift * (n / total)
        self._count = total

    def std(self) -> Tensor:
        std = (self._squares / max(1, self._count)).sqrt()
        # What rounding leaves of a constant channel is no spread.
        return torch.where(std > 1e-12 * self._mean.abs(), std, torch.ones_like(std))
