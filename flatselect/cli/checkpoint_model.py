"""From a checkpoint and the name of a network to the network that was in it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.data.loading import AnySet, is_numbered
from flatselect.data.normalization import Constants
from flatselect.errors import CheckpointError, ConfigError
from flatselect.exporting.loading import EXPORTED_KIND, load
from flatselect.models.factories import build_model, is_own_code
from flatselect.models.weight_files import WeightFile
from flatselect.models.weight_fitting import Misfit, fit_weights
from flatselect.training.seeding import seeded


@dataclass(frozen=True)
class NamedArchitecture:
    """A network by name and arguments, before its number of classes is known."""

    name: str
    args: Mapping[str, Any]

    def __str__(self) -> str:
        args = " ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.name} ({args})" if args else self.name


def choose_architecture(path: str, file: WeightFile, name: str | None, args: Mapping[str, Any]) -> NamedArchitecture:
    """The network that the options name; of an exported model, what is not given is read from the file.

    Raises:
        ConfigError: There is no name, or the file alone names code of the user's own.
    """
    exported = find_exported_architecture(file)
    if exported is not None and name in (None, exported.name):
        # A file is never trusted to name the code that is run.
        if name is None and is_own_code(exported.name):
            raise ConfigError(
                f"{path}: its network is built by {exported.name!r}; if you trust it, add --model {exported.name}"
            )
        return NamedArchitecture(exported.name, {**exported.args, **args})
    if name is None:
        raise ConfigError(
            f"--model is missing: {path} holds weights alone; say which network they belong to, for example "
            "--model torchvision:resnet18 (or cnn, timm:NAME, module:function)"
        )
    return NamedArchitecture(name, args)


def build_from_checkpoint(
    path: str,
    file: WeightFile,
    architecture: NamedArchitecture,
    input_shape: tuple[int, int, int],
    n_classes: int,
) -> nn.Module:
    """Builds the network and puts the checkpoint's weights into it.

    Args:
        path: Of the checkpoint.
        file: What it holds.
        architecture: What `choose_architecture` returned.
        input_shape: Of the images.
        n_classes: Logits.

    Raises:
        ModelError: The network cannot be built.
        CheckpointError: The weights do not fit it: which, and what might help.
    """
    ensure_working_folder_importable()
    if architecture == find_exported_architecture(file) and n_classes == len(file.content["class_names"]):
        return load(path, factory=architecture.name)
    with seeded(0):
        model = build_model(architecture.name, architecture.args, input_shape, n_classes)
    if misfit := fit_weights(model, file.weights):
        hint = _suggest_remedy(misfit, input_shape[0], n_classes)
        raise CheckpointError(f"{path} does not fit {architecture} for {n_classes} classes:\n{misfit}\n{hint}")
    return model


def find_exported_architecture(file: WeightFile) -> NamedArchitecture | None:
    """What `flatselect export` wrote of the network; None for a file of another maker."""
    if file.content.get("kind") != EXPORTED_KIND:
        return None
    return NamedArchitecture(str(file.content["model"]), dict(file.content["model_args"]))


def find_n_classes(file: WeightFile, architecture: NamedArchitecture) -> int | None:
    """The number of classes of an exported model of that architecture; None for a file of another maker."""
    exported = find_exported_architecture(file)
    return len(file.content["class_names"]) if exported is not None and exported.name == architecture.name else None


def find_training_constants(file: WeightFile) -> tuple[Constants, Constants] | None:
    """Mean and std of the images that an exported model was trained on, where they were normalised."""
    if file.content.get("kind") != EXPORTED_KIND:
        return None
    data = file.content["provenance"]["data"]
    return None if data["mean"] is None else (tuple(data["mean"]), tuple(data["std"]))


def find_origin(file: WeightFile) -> str | None:
    """The trial that an exported model is of, or the first of those it is averaged from; see `make_origin`."""
    if file.content.get("kind") != EXPORTED_KIND:
        return None
    provenance = file.content["provenance"]
    if not {"study", "trial"} <= provenance.keys():
        return None
    name, number = provenance["study"]["study"]["name"], provenance["trial"]["number"]
    return make_origin(name, number, provenance["data"])


def make_origin(study: str, trial: int | str, data: Mapping[str, Any]) -> str:
    """`STUDY/NUMBER/FINGERPRINT` of the training images, as studies of one name are not one study."""
    return f"{study}/{trial}/{data.get('fingerprint')}"


def check_training_images(file: WeightFile, images: AnySet) -> None:
    """Checks that images can be those that an exported model was trained on, as far as the file says.

    Classes are compared by name where both have names, not numbers. A set of other classes, or of the same in another
    order, would be scored by labels that mean something else; files of other makers do not say theirs.

    Raises:
        CheckpointError: Classes or the shape of an image differ.
    """
    if file.content.get("kind") != EXPORTED_KIND:
        return
    own, given = tuple(file.content["class_names"]), images.class_names
    if own != given and not (is_numbered(own) or is_numbered(given)):
        number = next(i for i in range(max(len(own), len(given))) if own[i : i + 1] != given[i : i + 1])
        there, here = (names[number] if number < len(names) else "none" for names in (own, given))
        raise CheckpointError(
            f"its class {number} of {len(own)} is {there}, that of {images.name} {here}, of {len(given)}; give the "
            "images that it was trained on, of all its classes"
        )
    shape = tuple(file.content["input_shape"])
    if shape != images.input_shape:
        remedy = f"--image-size {shape[1]}" if shape[1] == shape[2] else "images of that size"
        remedy = remedy if shape[0] == images.input_shape[0] else "images like those"
        raise CheckpointError(
            f"it was trained on images of {_show(shape)}, those of {images.name} are {_show(images.input_shape)} "
            f"(channels×height×width); give {remedy}"
        )


def describe_other_images(file: WeightFile, images: AnySet) -> str | None:
    """What is to be known where an exported model says that it was trained on a set of another size; None where not.

    A study may train on a part of a set (`data.size`), and most of the set is then nothing that the network has seen.
    """
    if file.content.get("kind") != EXPORTED_KIND:
        return None
    n_images = file.content["provenance"]["data"].get("n_images")
    if n_images in (None, len(images)):
        return None
    return (
        f"it was trained on {n_images} images, and {images.name} has {len(images)}: its training score here is not of "
        "what it has seen, and neither is what is predicted from it"
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
