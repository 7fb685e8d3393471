"""timm's models by name, with random weights; timm is an optional dependency."""

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from flatselect.errors import ModelError


def build_timm_model(name: str, args: Mapping[str, Any], in_channels: int, n_classes: int) -> nn.Module:
    """Builds `timm.create_model(NAME, pretrained=False, in_chans=in_channels, num_classes=n_classes, **args)`.

    Raises:
        ModelError: timm is not installed, no such model, or arguments the model does not take.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ModelError(f"timm:{name} needs timm, which is not installed: pip install 'flatselect[timm]'") from None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() names them all"
        raise ModelError(f"timm has no model {name!r}; {hint}")
    for reserved in ("pretrained", "in_chans", "num_classes"):
        if reserved in args:
            raise ModelError(f"timm:{name}: argument {reserved!r} is set for you; leave it out of the model's args")
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=in_channels, num_classes=n_classes, **args
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(f"timm:{name} cannot be built with {dict(args)}: {error}") from error
    return network
