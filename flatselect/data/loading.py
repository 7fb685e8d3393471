"""From `[data]` of a study file to the training set and the audit set."""

import dataclasses
from pathlib import Path
from typing import Literal

import torch

from flatselect.config import DataSection, find_data_set
from flatselect.data.arrays import load_arrays
from flatselect.data.dataset import Dataset, TensorDataset
from flatselect.data.digits import Part, load_digits
from flatselect.data.folder import FolderDataset, load_folder
from flatselect.data.normalization import Constants, compute_mean_std, match_channels
from flatselect.data.resizing import resize_images
from flatselect.data.splits import draw_stratified
from flatselect.data.torchvision_sets import load_torchvision_set
from flatselect.errors import DataError

_N_NORMALIZATION_IMAGES = 1000  # of a folder: decoding all would take longer than what it adds in precision

AnySet = TensorDataset | FolderDataset


def load_training_set(config: DataSection, seed: int) -> Dataset:
    """Loads `data.train`: drawn down to `data.size`, resized, normalised.

    Args:
        config: The study's `[data]`.
        seed: Of the draw by class of `data.size` images.

    Raises:
        DataError: The set is missing, corrupt, smaller than `data.size`, lacks a class, or does not fit another key.
    """
    dataset = _open_set("train", config.train, config)
    _check_classes(dataset)
    if config.size is not None:
        if config.size < dataset.n_classes:
            raise DataError(f"data.size = {config.size}: {dataset.name} has {dataset.n_classes} classes; give as many")
        dataset = _draw(dataset, config.size, "data.size", seed)
    dataset = _resize(dataset, config.image_size)
    return _normalize(dataset, config, seed)


def load_measured_set(config: DataSection, seed: int) -> AnySet:
    """Loads all of `data.train` to be measured on, resized and normalised.

    Nothing that is measured looks at a label: classes may be missing, and all images may be of one.

    Args:
        config: A `[data]` section; its `size` is not looked at.
        seed: Of the sample of a folder's images whose mean and standard deviation are measured.

    Raises:
        DataError: The set is missing or corrupt, or does not fit another key.
    """
    dataset = _open_set("train", config.train, config)
    return _normalize(_resize(dataset, config.image_size), config, seed)


def load_audit_set(config: DataSection, training_set: Dataset, seed: int) -> Dataset:
    """Loads `data.audit`, with the classes, the input shape and the normalisation of the training set.

    Classes are matched by name, or by number where either set has numbers for names (arrays, digits). Classes the
    audit set lacks are no mistake.

    Args:
        config: The study's `[data]`; `audit` must be given.
        training_set: What `load_training_set` returned.
        seed: Of the draw by class of `data.audit_size` images.

    Raises:
        DataError: The set is missing or corrupt, smaller than `data.audit_size`, or has classes, a shape or a type of
            pixels that the training set has not.
    """
    if config.audit is None:
        raise DataError("no audit set is given; name one, for example --set data.audit=folder:PATH")
    dataset = _open_set("audit", config.audit, config, n_channels=training_set.input_shape[0])
    dataset = _match_classes(dataset, training_set)
    if config.audit_size is not None:
        dataset = _draw(dataset, config.audit_size, "data.audit_size", seed)
    return _match_inputs(_resize(dataset, config.image_size), training_set, "audit")


def load_unlabeled_set(config: DataSection, training_set: Dataset) -> AnySet:
    """Loads `data.train` as images whose labels are not looked at, and need not be there, like the training images.

    Of a set by name it is the test part: the other part is what networks were trained on.

    Args:
        config: A `[data]` section; its `size`, `mean` and `std` are not looked at.
        training_set: Its input shape and normalisation are taken.

    Raises:
        DataError: The set is missing or corrupt, or has a shape or a type of pixels that the training set has not.
    """
    dataset = _open_set("unlabeled", config.train, config, n_channels=training_set.input_shape[0])
    return _match_inputs(_resize(dataset, config.image_size), training_set, "unlabelled")


def _match_inputs(dataset: AnySet, training_set: Dataset, role: str) -> AnySet:
    """The set, normalised like the training set, if its images are of the same shape and type."""
    if dataset.input_shape != training_set.input_shape:
        raise DataError(
            f"{role} images of {dataset.name} are {_describe_shape(dataset)}, training images "
            f"{_describe_shape(training_set)} (channels×height×width); expected the same: "
            f"set data.image_size if only the size differs"
        )
    if training_set.mean is None or training_set.std is None:
        if not _has_float_images(dataset):
            raise DataError(
                f"{role} images of {dataset.name} are uint8, training images floats, taken as they are; "
                "store both as the same type"
            )
        return dataset
    if _has_float_images(dataset):
        raise DataError(
            f"{role} images of {dataset.name} are floats, taken as they are, training images uint8, normalised; "
            "store both as the same type"
        )
    return dataclasses.replace(dataset, mean=training_set.mean, std=training_set.std)


def _open_set(
    key: Literal["train", "audit", "unlabeled"], spec: str, config: DataSection, n_channels: int | None = None
) -> AnySet:
    """The whole set that a key of `[data]` names; the key stands in front of what is wrong with it."""
    try:
        return _load_set(spec, "train" if key == "train" else "test", config, n_channels, key != "unlabeled")
    except DataError as error:
        raise DataError(f"data.{key} = {spec!r}: {error}") from error


def _load_set(spec: str, part: Part, config: DataSection, n_channels: int | None, labelled: bool) -> AnySet:
    """The whole set, not normalised; n_channels is what a folder's images become."""
    kind, _, location = spec.partition(":")
    if kind == "folder" and location:
        return load_folder(
            Path(location).expanduser(),
            image_size=config.image_size,
            loader_workers=config.loader_workers,
            n_channels=n_channels,
            labelled=labelled,
        )
    if kind == "arrays" and location:
        return load_arrays(Path(location).expanduser(), labelled=labelled)
    if find_data_set(spec) == "digits":
        return load_digits(part)
    return load_torchvision_set(spec, part, config.root, config.download)


def _check_classes(dataset: AnySet) -> None:
    counts = torch.bincount(dataset.labels, minlength=dataset.n_classes)
    if (counts == 0).any():
        missing = int(counts.argmin())
        raise DataError(
            f"{dataset.name}: no image has label {missing}, yet labels go up to {len(counts) - 1}; "
            "expected every class from 0 on: number them without holes"
        )
    if dataset.n_classes < 2:
        raise DataError(f"{dataset.name}: all images are of one class; expected two or more")


def _draw(dataset: AnySet, n: int, key: str, seed: int) -> AnySet:
    if n > len(dataset):
        raise DataError(f"{key} = {n}: {dataset.name} has {len(dataset)} images; give at most that many")
    return dataset.subset(draw_stratified(dataset.labels, n, seed))


def _resize(dataset: AnySet, image_size: int | None) -> AnySet:
    # A folder's images are resized where they are decoded.
    if image_size is None or isinstance(dataset, FolderDataset) or dataset.input_shape[1:] == (image_size, image_size):
        return dataset
    return dataclasses.replace(dataset, pixels=resize_images(dataset.pixels, image_size))


def _normalize(dataset: AnySet, config: DataSection, seed: int) -> AnySet:
    if _has_float_images(dataset):
        if config.mean is not None:
            raise DataError(
                f"data.mean is given, but {dataset.name} holds floats, which are taken as they are; "
                "leave data.mean and data.std out, or store uint8"
            )
        return dataset
    mean, std = _given_constants(config, dataset.input_shape[0]) or _measure_constants(dataset, seed)
    return dataclasses.replace(dataset, mean=mean, std=std)


def _given_constants(config: DataSection, n_channels: int) -> tuple[Constants, Constants] | None:
    if config.mean is None or config.std is None:
        return None
    return match_channels(config.mean, n_channels, "data.mean"), match_channels(config.std, n_channels, "data.std")


def _measure_constants(dataset: AnySet, seed: int) -> tuple[Constants, Constants]:
    if isinstance(dataset, TensorDataset):
        return compute_mean_std(torch.split(dataset.pixels, 4096))
    sample = draw_stratified(dataset.labels, min(len(dataset), _N_NORMALIZATION_IMAGES), seed)
    return compute_mean_std(dataset.subset(sample).decode_all())


def _match_classes(dataset: AnySet, training_set: Dataset) -> AnySet:
    """The audit set with its labels renumbered to the training set's classes."""
    if is_numbered(dataset.class_names) or is_numbered(training_set.class_names):
        if dataset.n_classes > training_set.n_classes:
            raise DataError(
                f"audit set {dataset.name} has labels up to {dataset.n_classes - 1}, "
                f"training set {training_set.name} up to {training_set.n_classes - 1}; expected the same classes"
            )
        numbers = list(range(dataset.n_classes))
    else:
        unknown = [name for name in dataset.class_names if name not in training_set.class_names]
        if unknown:
            raise DataError(
                f"audit set {dataset.name} has classes that training set {training_set.name} has not: "
                f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}; "
                f"expected among {', '.join(training_set.class_names[:20])}"
            )
        numbers = [training_set.class_names.index(name) for name in dataset.class_names]
    labels = torch.tensor(numbers)[dataset.labels]
    return dataclasses.replace(dataset, labels=labels, class_names=training_set.class_names)


def is_numbered(class_names: tuple[str, ...]) -> bool:
    """Whether classes have numbers for names, as in arrays: then nothing but their order is known of them."""
    return class_names == tuple(str(number) for number in range(len(class_names)))


def _has_float_images(dataset: AnySet) -> bool:
    return isinstance(dataset, TensorDataset) and dataset.pixels.dtype != torch.uint8


def _describe_shape(dataset: Dataset) -> str:
    return "×".join(map(str, dataset.input_shape))
