"""The images of a study: the unlabelled ones, and all of them once more after the search."""

from typing import Any

import torch

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset
from flatselect.data.loading import load_training_set, load_unlabeled_set
from flatselect.errors import SearchError
from flatselect.search.protocol import SearchImages
from flatselect.training.seeding import derive_seed


def load_unlabeled_sample(config: StudyConfig, training_set: Dataset) -> Dataset | None:
    """Loads `data.unlabeled_size` images of `data.unlabeled`, drawn by lot; None where the study has none.

    Raises:
        DataError: The set is missing or corrupt, or does not fit the training set.
    """
    if config.data.unlabeled is None:
        return None
    section = config.data.model_copy(update={"train": config.data.unlabeled})
    unlabeled = load_unlabeled_set(section, training_set)
    generator = torch.Generator().manual_seed(derive_seed(config.study.seed, "unlabeled"))
    return unlabeled.subset(torch.randperm(len(unlabeled), generator=generator)[: config.data.unlabeled_size])


def reload_images(config: StudyConfig, data: dict[str, Any]) -> SearchImages:
    """Loads the images that a study was searched on.

    Args:
        config: As the study was made.
        data: What the database knows of its training images, `StudyReader.data`.

    Raises:
        DataError: They cannot be loaded.
        SearchError: What is there now are others.
    """
    training_set = load_training_set(config.data, config.study.seed)
    if training_set.fingerprint != data["fingerprint"]:
        raise SearchError(
            f"data.train = {config.data.train!r}: not the images that the study was searched on; expected "
            f"{data['n_images']} images of {data['name']} with the fingerprint {data['fingerprint'][:12]}…, found "
            f"{len(training_set)} with {training_set.fingerprint[:12]}…; put the former ones back"
        )
    return SearchImages(training_set, load_unlabeled_sample(config, training_set))
