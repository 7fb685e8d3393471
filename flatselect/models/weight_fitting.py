"""Putting weights from elsewhere into a network, or saying where the two do not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flatselect.models.channels import RepeatChannels

# What wrappers put in front of every name: DataParallel, Lightning's modules, training loops.
_WRAPPER_PREFIXES = ("module.", "model.", "net.")
_COMPILED = "_orig_mod."
_COUNTER = "num_batches_tracked"  # old checkpoints lack it, and it changes nothing in evaluation
_MOST_NAMED = 5

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Misfit:
    """Where weights and a network differ.

    Attributes:
        missing: Names that the network has and the weights have not.
        unexpected: Names that the weights have and the network has not.
        reshaped: By name, the shape in the weights and the shape in the network, in the network's order.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[Shape, Shape]]

    def __str__(self) -> str:
        lines = []
        if self.missing:
            lines.append(f"  missing from the checkpoint: {_enumerate(self.missing)}")
        if self.unexpected:
            lines.append(f"  unknown to the network: {_enumerate(self.unexpected)}")
        if self.reshaped:
            shapes = [f"{name} is {_show(given)}, not {_show(own)}" for name, (given, own) in self.reshaped.items()]
            lines.append(f"  of another shape: {_enumerate(shapes)}")
        return "\n".join(lines)


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Misfit | None:
    """Copies weights into a network if all of them fit; the prefixes that wrappers leave on names do not matter.

    Args:
        model: The network; with one-channel images repeated in front of it, the weights may be the bare network's.
        weights: By name.

    Returns:
        None if the weights fit and were copied. Else what does not fit, and the network is unchanged.
    """
    bare = _without_repetition(model)
    if bare is not model and not all(name.startswith("network.") for name in weights):
        return fit_weights(bare, weights)
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    given = _strip_prefixes(weights, own)
    missing = tuple(name for name in own if name not in given and not name.endswith(_COUNTER))
    unexpected = tuple(name for name in given if name not in own)
    reshaped = {
        name: (tuple(given[name].shape), tuple(tensor.shape))
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    }
    if missing or unexpected or reshaped:
        return Misfit(missing, unexpected, reshaped)
    with torch.no_grad():
        model.load_state_dict(given, strict=False)
    return None


def find_module_name(model: nn.Module, name: str) -> str:
    """The name in `model` of a layer that may be named as in the bare network, without repeated channels in front."""
    modules = dict(model.named_modules())
    inner = f"network.{name}"
    return inner if name not in modules and _without_repetition(model) is not model and inner in modules else name


def _without_repetition(model: nn.Module) -> nn.Module:
    if isinstance(model, nn.Sequential) and len(model) == 2 and isinstance(model[0], RepeatChannels):
        return model[1]
    return model


def _strip_prefixes(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that the network has for them, as far as prefixes alone keep them apart."""
    given = dict(weights)
    if not any(_COMPILED in name for name in own):
        given = {name.replace(_COMPILED, ""): tensor for name, tensor in given.items()}
    while prefix := next((p for p in _WRAPPER_PREFIXES if given and all(name.startswith(p) for name in given)), None):
        if all(name.startswith(prefix) for name in own):  # the network's own part has that name
            break
        given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    return given


def _enumerate(items: Sequence[str]) -> str:
    rest = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f", and {rest} more" if rest > 0 else "")


def _show(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a single number"
