"""From a checkpoint and the name of a network to the network that was in it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from flatselect.cli.checkpoint_description import CheckpointDescription, NamedArchitecture
from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.data.loading import AnySet, is_numbered
from flatselect.errors import CheckpointError, ConfigError
from flatselect.exporting.loading import load
from flatselect.models.factories import build_model, is_own_code
from flatselect.models.weight_files import WeightFile
from flatselect.models.weight_fitting import Misfit, fit_weights
from flatselect.training.seeding import seeded


def choose_architecture(
    path: str, described: CheckpointDescription | None, name: str | None, args: Mapping[str, Any]
) -> NamedArchitecture:
    """The network that the options name; what is not given is read from a file that says it.

    Raises:
        ConfigError: There is no name, or the file alone names code of the user's own.
    """
    own = None if described is None else described.architecture
    if own is not None and name in (None, own.name):
        # A file is never trusted to name the code that is run.
        if name is None and is_own_code(own.name):
            raise ConfigError(f"{path}: its network is built by {own.name!r}; if you trust it, add --model {own.name}")
        return NamedArchitecture(own.name, {**own.args, **args})
    if name is None:
        raise ConfigError(
            f"--model is missing: {path} holds weights alone; say which network they belong to, for example "
            "--model torchvision:resnet18 (or cnn, timm:NAME, module:function)"
        )
    return NamedArchitecture(name, args)


def find_n_classes(described: CheckpointDescription | None, architecture: NamedArchitecture) -> int | None:
    """The number of classes that a file says its network has, where it is of that architecture."""
    if described is None or described.class_names is None or described.architecture.name != architecture.name:
        return None
    return len(described.class_names)


def build_from_checkpoint(
    path: str,
    file: WeightFile,
    described: CheckpointDescription | None,
    architecture: NamedArchitecture,
    input_shape: tuple[int, int, int],
    n_classes: int,
) -> nn.Module:
    """Builds the network and puts the checkpoint's weights into it.

    Args:
        path: Of the checkpoint.
        file: What it holds.
        described: What it says of itself.
        architecture: What `choose_architecture` returned.
        input_shape: Of the images.
        n_classes: Logits.

    Raises:
        ModelError: The network cannot be built.
        CheckpointError: The weights do not fit it: which, and what might help.
    """
    ensure_working_folder_importable()
    is_exported = described is not None and described.is_exported and architecture == described.architecture
    if is_exported and n_classes == find_n_classes(described, architecture):
        return load(path, factory=architecture.name)
    with seeded(0):
        model = build_model(architecture.name, architecture.args, input_shape, n_classes)
    if misfit := fit_weights(model, file.weights):
        hint = _suggest_remedy(misfit, input_shape[0], n_classes)
        raise CheckpointError(f"{path} does not fit {architecture} for {n_classes} classes:\n{misfit}\n{hint}")
    return model


def check_training_images(described: CheckpointDescription | None, images: AnySet) -> None:
    """Checks that images can be those that a network was trained on, as far as its file says.

    Classes are compared by name where both have names, not numbers. A set of other classes, or of the same in another
    order, would be scored by labels that mean something else; files of other makers do not say theirs.

    Raises:
        CheckpointError: Classes or the shape of an image differ.
    """
    if described is None or described.class_names is None or described.input_shape is None:
        return
    own, given = described.class_names, images.class_names
    if own != given and not (is_numbered(own) or is_numbered(given)):
        number = next(i for i in range(max(len(own), len(given))) if own[i : i + 1] != given[i : i + 1])
        there, here = (names[number] if number < len(names) else "none" for names in (own, given))
        raise CheckpointError(
            f"its class {number} of {len(own)} is {there}, that of {images.name} {here}, of {len(given)}; give the "
            "images that it was trained on, of all its classes"
        )
    shape = described.input_shape
    if shape != images.input_shape:
        remedy = f"--image-size {shape[1]}" if shape[1] == shape[2] else "images of that size"
        remedy = remedy if shape[0] == images.input_shape[0] else "images like those"
        raise CheckpointError(
            f"it was trained on images of {_show(shape)}, those of {images.name} are {_show(images.input_shape)} "
            f"(channels×height×width); give {remedy}"
        )


def describe_other_images(described: CheckpointDescription | None, images: AnySet) -> str | None:
    """What is to be known where a file says that its network was trained on a set of another size; None where not.

    A study may train on a part of a set (`data.size`), as may a trial of it (a calibration trial holds some out), and
    most of the set may then be nothing that the network has seen.
    """
    if described is None or described.n_images in (None, len(images)):
        return None
    return (
        f"it was trained on {described.n_images} images, and {images.name} has {len(images)}: its training score here "
        "is not of what it has seen, and neither is what is predicted from it"
    )


def parse_model_args(texts: Sequence[str]) -> dict[str, Any]:
    """Reads `--model-arg KEY=VALUE`: a value is TOML or JSON, or else a plain text.

    Raises:
        ConfigError: A text has no key or no `=`, or a key comes twice.
    """
    args: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"--model-arg {text}: expected KEY=VALUE, for example --model-arg width=32")
        if key in args:
            raise ConfigError(f"--model-arg {text}: {key} is given twice")
        args[key] = _parse_value(value)
    return args


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _show(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _suggest_remedy(misfit: Misfit, n_channels: int, n_classes: int) -> str:
    hints = []
    if not misfit.missing and not misfit.unexpected:
        weights = [(given, own) for given, own in misfit.reshaped.values() if len(given) == len(own) > 1]
        given, own = weights[-1] if weights else ((0,), (0,))
        if own[0] == n_classes != given[0] and own[1:] == given[1:]:
            hints.append(f"the checkpoint has {given[0]} classes: add --classes {given[0]}")
        given, own = weights[0] if weights else ((0, 0), (0, 0))
        if own[1] == n_channels != given[1]:
            hints.append(
                f"the checkpoint takes images of {given[1]} channels, these have {n_channels}: give images like those "
                "it was trained on"
            )
    return "; ".join(hints) or "is it another network? check --model and --model-arg"
