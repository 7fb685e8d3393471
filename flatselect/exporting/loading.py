"""The way back: a file that `flatselect export` wrote as a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from flatselect.errors import CheckpointError
from flatselect.file_location import is_url
from flatselect.models.factories import build_model, is_own_code
from flatselect.models.weight_files import find_weight_file, read_weight_file
from flatselect.training.checkpoint import load_checkpoint
from flatselect.training.seeding import seeded

EXPORTED_KIND = "flatselect model"
# Those whose weights stand in a file beside the document, not in it.
_DOCUMENTED = (".safetensors", ".pt2")


def load(path: str | Path, *, factory: str | None = None) -> nn.Module:
    """Gives an exported model back, in evaluation mode, on the CPU.

    It takes normalised images, (pixels / 255 − mean) / std by the `mean` and `std` of `provenance["data"]`; also where
    the file is a program that normalises them itself.

    Args:
        path: What `flatselect export` wrote: `.pt`, `.safetensors`, `.pt2`, or a folder with `model.safetensors`.
        factory: Must repeat the file's `module:function` where the model is a user's own: a file is never trusted to
            name the code that is run.

    Returns:
        The model. Its attribute `provenance` holds the trial, data, study and versions it comes from; its
        `class_names` the classes, in the order of its outputs.

    Raises:
        CheckpointError: The file is missing, broken, or not an exported model.
        ModelError: The architecture cannot be built here.
    """
    content = _read_content(path)
    if content.get("kind") != EXPORTED_KIND:
        raise CheckpointError(f"{path}: a checkpoint, but not a model that flatselect exported")
    name = str(content["model"])
    if is_own_code(name) and factory != name:
        raise CheckpointError(f"{path}: its network is built by {name!r}; if you trust it, pass factory={name!r}")
    return build_exported_model(path, content)


def build_exported_model(path: str | Path, content: Mapping[str, Any]) -> nn.Module:
    """The network of what an exported file holds; its code is run, whosever it is. Raises what `load` does."""
    name = str(content["model"])
    channels, height, width = content["input_shape"]
    with seeded(0):
        model = build_model(name, content["model_args"], (channels, height, width), len(content["class_names"]))
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the network {name!r}: {error}") from error
    model.eval()
    # Plain attributes: `nn.Module` would take neither for a parameter nor for a buffer.
    model.__dict__.update(provenance=content["provenance"], class_names=tuple(content["class_names"]))
    return model


def _read_content(path: str | Path) -> dict[str, Any]:
    if is_url(str(path)):
        if str(path).endswith(_DOCUMENTED):
            raise CheckpointError(f"{path}: of files at a URL only .pt is read; copy it to this machine first")
        return load_checkpoint(path)
    file_path = find_weight_file(path)
    if file_path.suffix not in _DOCUMENTED:
        return load_checkpoint(path)
    file = read_weight_file(file_path)
    return {**file.content, "state_dict": file.weights}
