"""torchvision's classification models by name, with random weights."""

import difflib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from flatselect.errors import ModelError
from flatselect.models.channels import RepeatChannels

# Auxiliary classifiers change what the model returns in training; init_weights unset warns of a coming change.
_FAMILY_ARGS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def build_torchvision_model(name: str, args: Mapping[str, Any], in_channels: int, n_classes: int) -> nn.Module:
    """Builds `torchvision.models.NAME(weights=None, num_classes=n_classes, **args)`.

    One-channel images are repeated to three in front of the network.

    Raises:
        ModelError: No such model, another number of channels, or arguments the model does not take.
    """
    # Imported where it is used: it takes a second, and the built-in family needs none of it.
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known)}"
        raise ModelError(f"torchvision has no classification model {name!r}; {hint}")
    if in_channels not in (1, 3):
        raise ModelError(f"torchvision:{name} takes images of 1 or 3 channels, not {in_channels}")
    for reserved in ("weights", "num_classes"):
        if reserved in args:
            raise ModelError(
                f"torchvision:{name}: argument {reserved!r} is set for you; leave it out of the model's args"
            )
    arguments = {**_FAMILY_ARGS.get(name, {}), **args}
    try:
        network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=n_classes, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelError(f"torchvision:{name} cannot be built with {dict(args)}: {error}") from error
    if in_channels == 3:
        return network
    return nn.Sequential(OrderedDict(repeat_channels=RepeatChannels(3), network=network))
