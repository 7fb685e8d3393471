"""The images of the commands that measure: a set by name, normalised, and a sample of it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from flatselect.config import DataSection
from flatselect.data.loading import AnySet, load_measured_set
from flatselect.data.normalization import Constants
from flatselect.data.splits import draw_stratified
from flatselect.errors import ConfigError

DEFAULT_N_IMAGES = 512
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class MeasuredImages:
    """Images to measure on.

    Attributes:
        spec: The set, as it was named.
        sample: The images.
        n_in_set: Images in the whole set.
        n_classes: Classes of the whole set.
        seed: Of the sample.
        constants_from: Where mean and std come from, in words.
    """

    spec: str
    sample: AnySet
    n_in_set: int
    n_classes: int
    seed: int
    constants_from: str

    def to_dict(self) -> dict[str, Any]:
        """What it takes to know the very same images again."""
        return {
            "n_images": len(self.sample),
            "n_in_set": self.n_in_set,
            "seed": self.seed,
            "input_shape": list(self.sample.input_shape),
            "mean": self.sample.mean,
            "std": self.sample.std,
            "fingerprint": self.sample.fingerprint,
        }


def load_measured_images(
    spec: str,
    *,
    n_images: int | str | None,
    seed: int,
    mean: Constants | None,
    std: Constants | None,
    trained_with: tuple[Constants, Constants] | None,
    **keys: Any,
) -> MeasuredImages:
    """Loads a set and draws a sample of it, by class where it has classes.

    Args:
        spec: As `[data] train` of a study file.
        n_images: Images to draw, or "all"; None for `DEFAULT_N_IMAGES`, or all if there are fewer.
        seed: Of the draw.
        mean: By channel; None for `trained_with`'s, else measured on the whole set.
        std: By channel; goes with `mean`.
        trained_with: Mean and std that the checkpoint says its network was trained with.
        **keys: Other keys of `[data]`.

    Raises:
        ConfigError: The set's name is unknown.
        DataError: The set cannot be read, or has fewer images.
    """
    dataset = load_image_set(spec, seed=seed, mean=mean, std=std, **keys)
    constants_from = "given" if mean else "of the whole set"
    if dataset.mean is None:
        constants_from = "the set's floats, as they are"
    elif mean is None and (renormalised := use_training_constants(dataset, trained_with)) is not dataset:
        dataset = renormalised
        constants_from = "of the training images, from the checkpoint"
    n_drawn = count_images(n_images, DEFAULT_N_IMAGES, dataset, spec)
    sample = dataset.subset(draw_stratified(dataset.labels, n_drawn, seed)) if n_drawn < len(dataset) else dataset
    return MeasuredImages(spec, sample, len(dataset), dataset.n_classes, seed, constants_from)


def load_image_set(spec: str, *, seed: int, mean: Constants | None, std: Constants | None, **keys: Any) -> AnySet:
    """Loads a whole set by name, normalised by constants that are given or else measured on it.

    Raises:
        ConfigError: The set's name is unknown.
        DataError: The set cannot be read.
    """
    return load_measured_set(make_data_section(spec, mean=mean and list(mean), std=std and list(std), **keys), seed)


def make_data_section(spec: str, *, option: str = "data", **keys: Any) -> DataSection:
    """`[data]` of a study file, of options; `option` is where the set's name was given. Raises ConfigError."""
    try:
        return DataSection.model_validate(
            {"train": spec, **{key: value for key, value in keys.items() if value is not None}}
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = option if problem["loc"][0] == "train" else str(problem["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{key} {problem['input']}: {problem['msg']}") from None


def use_training_constants(dataset: AnySet, trained_with: tuple[Constants, Constants] | None) -> AnySet:
    """The set normalised as a network's training images were, where that is known and the set is normalised at all."""
    if dataset.mean is None or trained_with is None or len(trained_with[0]) != dataset.input_shape[0]:
        return dataset
    return dataclasses.replace(dataset, mean=trained_with[0], std=trained_with[1])


def count_images(wanted: int | str | None, default: int, dataset: AnySet, spec: str) -> int:
    """How many images `--images` means: N, "all", or None for the default, or all if there are fewer.

    Raises:
        ConfigError: The set has fewer than N.
    """
    n = len(dataset)
    if wanted is None:
        return min(n, default)
    n_wanted = n if isinstance(wanted, str) else wanted
    if n_wanted > n:
        raise ConfigError(f"--images {n_wanted}: {spec} has {n} images; give at most that many, or all")
    return n_wanted


def parse_constants(mean: str | None, std: str | None) -> tuple[Constants | None, Constants | None]:
    """Reads `--mean` and `--std`: numbers by channel with commas between them, or `imagenet`, for both if one says so.

    Raises:
        ConfigError: One is given without the other, or is no list of numbers.
    """
    if "imagenet" in (mean, std):
        mean, std = mean or "imagenet", std or "imagenet"
    for name, value, other in (("std", std, mean), ("mean", mean, std)):
        if value is None and other is not None:
            raise ConfigError(f"--{name} is missing: mean and std go together; give both or neither")
    return _parse_numbers("mean", mean), _parse_numbers("std", std)


def _parse_numbers(name: str, text: str | None) -> Constants | None:
    if text is None:
        return None
    if text == "imagenet":
        return _IMAGENET[name]
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--{name} {text}: expected a number for each channel, on [0, 1], with commas between them, for example "
            f"--{name} {_join(_IMAGENET[name])}; or imagenet"
        ) from None


def _join(numbers: Sequence[float]) -> str:
    return ",".join(map(str, numbers))
