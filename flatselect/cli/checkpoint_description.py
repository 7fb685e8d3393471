"""What checkpoints that flatselect wrote say of themselves: exported models, and the trials of a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flatselect.data.normalization import Constants
from flatselect.exporting.loading import EXPORTED_KIND
from flatselect.models.weight_files import WeightFile


@dataclass(frozen=True)
class NamedArchitecture:
    """A network by name and arguments, before its number of classes is known."""

    name: str
    args: Mapping[str, Any]

    def __str__(self) -> str:
        args = " ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.name} ({args})" if args else self.name


@dataclass(frozen=True)
class CheckpointDescription:
    """Of a network and the images it was trained on; None where a file does not say.

    Attributes:
        architecture: The network.
        is_exported: Whether `flatselect export` wrote the file; else it is a trial's, as a search left it.
        class_names: In the order of the outputs.
        input_shape: Of an image, channels first.
        constants: Mean and std that the images were normalised with; None also where they were taken as they are.
        n_images: How many there were.
        origin: The trial that an exported model is of, or the first of those it is averaged from; see `make_origin`.
    """

    architecture: NamedArchitecture
    is_exported: bool
    class_names: tuple[str, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    constants: tuple[Constants, Constants] | None = None
    n_images: int | None = None
    origin: str | None = None


def describe_checkpoint(file: WeightFile) -> CheckpointDescription | None:
    """Reads it from a checkpoint's content; None for a file of another maker."""
    content = file.content
    if content.get("kind") == EXPORTED_KIND:
        provenance = content["provenance"]
        data = provenance["data"]
        origin = None
        if {"study", "trial"} <= provenance.keys():
            origin = make_origin(provenance["study"]["study"]["name"], provenance["trial"]["number"], data)
        return _describe(content, data | {key: content[key] for key in ("class_names", "input_shape")}, True, origin)
    match content:
        case {"format_version": _, "candidate": {"model": str(), "model_args": dict()} as network}:
            images = content.get("images")  # of which older ones say nothing
            return _describe(network, images if isinstance(images, dict) else {}, False)
    return None


def _describe(
    network: Mapping[str, Any], images: Mapping[str, Any], is_exported: bool, origin: str | None = None
) -> CheckpointDescription:
    class_names, input_shape = images.get("class_names"), images.get("input_shape")
    is_normalised = images.get("mean") is not None
    return CheckpointDescription(
        NamedArchitecture(str(network["model"]), dict(network["model_args"])),
        is_exported,
        None if class_names is None else tuple(class_names),
        None if input_shape is None else tuple(input_shape),
        (tuple(images["mean"]), tuple(images["std"])) if is_normalised else None,
        images.get("n_images"),
        origin,
    )


def make_origin(study: str, trial: int | str, data: Mapping[str, Any]) -> str:
    """`STUDY/NUMBER/FINGERPRINT` of the training images, as studies of one name are not one study."""
    return f"{study}/{trial}/{data.get('fingerprint')}"
