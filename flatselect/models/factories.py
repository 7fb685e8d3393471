"""From a model's name and arguments to a network with random weights."""

from collections.abc import Mapping
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from flatselect.config import CnnArchitecture, describe_unknown_key
from flatselect.errors import ModelError
from flatselect.models.cnn import GapCnn
from flatselect.models.timm_models import build_timm_model
from flatselect.models.torchvision_models import build_torchvision_model
from flatselect.models.user_models import build_user_model


def build_model(name: str, args: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Builds a network on the CPU, in training mode, and checks what it returns for one image.

    Weights are drawn from torch's global generator: seed it before.

    Args:
        name: `cnn`, `torchvision:NAME`, `timm:NAME` or `module:function`.
        args: Keyword arguments of the model.
        input_shape: (channels, height, width).
        n_classes: Logits.

    Raises:
        ModelError: The model cannot be found or built, or does not map one image to n_classes logits.
    """
    source, _, rest = name.partition(":")
    if name == "cnn":
        model: nn.Module = GapCnn(_check_architecture(args), input_shape[0], n_classes)
    elif source == "torchvision" and rest:
        model = build_torchvision_model(rest, args, input_shape[0], n_classes)
    elif source == "timm" and rest:
        model = build_timm_model(rest, args, input_shape[0], n_classes)
    elif source and rest:
        model = build_user_model(name, args, input_shape, n_classes)
    else:
        raise ModelError(f"unknown model {name!r}; expected cnn, torchvision:NAME, timm:NAME or module:function")
    _check_output(model, name, input_shape, n_classes)
    return model


def is_own_code(name: str) -> bool:
    """Whether building the model called `name` runs code of the user's own, `module:function`."""
    return ":" in name and not name.startswith(("torchvision:", "timm:"))


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters; one that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _check_architecture(args: Mapping[str, Any]) -> CnnArchitecture:
    try:
        return CnnArchitecture.model_validate(dict(args))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        message = problem["msg"].removeprefix("Input ")
        if problem["type"] == "extra_forbidden":
            message = describe_unknown_key(key, CnnArchitecture.model_fields)
        raise ModelError(f"cnn: {key} = {problem['input']!r}: {message}") from None


@torch.no_grad()
def _check_output(model: nn.Module, name: str, input_shape: tuple[int, int, int], n_classes: int) -> None:
    """Runs one zero image through the model, in evaluation mode so that no running statistic moves."""
    model.eval()
    shown = "×".join(map(str, input_shape))
    try:
        output: Any = model(torch.zeros(1, *input_shape))
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        raise ModelError(
            f"{name} cannot take an image of {shown} (channels×height×width): {error}; "
            "if it is too small or of the wrong size for the model, set data.image_size"
        ) from error
    finally:
        model.train()
    if not isinstance(output, Tensor) or output.shape != (1, n_classes):
        found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"{name} returned {found} for one image of {shown}; expected logits of shape (1, {n_classes})")
