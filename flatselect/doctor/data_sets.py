"""The data that a study names."""

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset
from flatselect.data.loading import load_audit_set, load_training_set
from flatselect.doctor.finding import Finding
from flatselect.errors import DataError
from flatselect.search.study_images import load_unlabeled_sample


def check_data(config: StudyConfig) -> tuple[Finding, Dataset | None]:
    """Whether every set that `[data]` names can be loaded; the training set, where it can."""
    training_set = None
    try:
        training_set = load_training_set(config.data, config.study.seed)
        found = [f"training {_describe(training_set)}"]
        if config.data.audit is not None:
            found.append(f"audit {_describe(load_audit_set(config.data, training_set, config.study.seed))}")
        if (unlabeled := load_unlabeled_sample(config, training_set)) is not None:
            found.append(f"unlabelled {_describe(unlabeled)}")
    except DataError as error:
        return Finding("data", "problem", str(error)), training_set
    return Finding("data", "ok", "; ".join(found)), training_set


def _describe(dataset: Dataset) -> str:
    shape = "×".join(str(size) for size in dataset.input_shape)
    return f"{dataset.name}, {len(dataset):,} images of {shape} in {dataset.n_classes} classes"
