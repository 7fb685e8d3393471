"""The models of the best trials, stored as artifacts by Optuna's own function: any dashboard offers them.

Optuna lets nobody add to a trial that has ended, so they are the study's. It has no function that takes one out, and an
entry replaced by null, as optuna-dashboard does it, breaks its list of artifacts: their rows are deleted.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

from flatselect.atomic_file import open_atomic
from flatselect.dashboard.models import N_OFFERED, list_models, write_model
from flatselect.dashboard.stored_study import StoredStudy
from flatselect.errors import ConfigError, FlatselectError
from flatselect.report.study_contents import StudyContents

_MODELS_ATTRIBUTE = "flatselect:saved_models"
_ARTIFACT_KEY = "artifacts:"  # as Optuna names its entries


class WholeFileStore(FileSystemArtifactStore):
    """Optuna's store in a folder, where a file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        with open_atomic(self._folder / artifact_id) as file:
            shutil.copyfileobj(content_body, file)

    def has(self, artifact_id: str) -> bool:
        """Whether there is such a file that can be read."""
        return os.access(self._folder / artifact_id, os.R_OK)


@dataclass(frozen=True)
class SavedModels:
    """What became of the models of the best trials.

    Attributes:
        n_kept: That were in the folder before, of the same checkpoints.
        sizes: In bytes, of those that were written, by the trial's number.
        n_elsewhere: That are not in the folder, but in that into which they were saved before.
        n_removed: That were saved before, of trials that are no longer among the best.
        failures: Why one was not written, by the trial's number.
    """

    n_kept: int
    sizes: dict[int, int]
    n_elsewhere: int
    n_removed: int
    failures: dict[int, str]


def save_models(
    stored: StoredStudy, contents: StudyContents, folder: Path, advance: Callable[[], None] = lambda: None
) -> SavedModels:
    """Stores the models of the best trials in place of those that were.

    One that is there already, of the same trial and checkpoint, is kept, also where that checkpoint is gone by now. One
    that was saved into another folder is written into this one too.

    Args:
        stored: Where.
        contents: The study.
        folder: Of the artifact store; made where there is none.
        advance: Called after each of the best trials.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    with _blame(folder):
        folder.mkdir(parents=True, exist_ok=True)
    store = WholeFileStore(folder)
    models = _read_models(stored)
    # Those that optuna-dashboard took out are null.
    entries = {key for key, value in stored.read_attributes(_ARTIFACT_KEY).items() if value != "null"}
    listed = {entry["trial"]: key for key, entry in models.items() if f"{_ARTIFACT_KEY}{key}" in entries}
    offered, best = list_models(contents, stored.reader), contents.ranking[:N_OFFERED]
    kept = {number: listed[number] for number in best if number in listed}
    current = {
        number: key
        for number, key in kept.items()
        if number in offered and models[key]["checkpoint"] == offered[number]["artifact_id"]
    }
    sizes: dict[int, int] = {}
    failures: dict[int, str] = {}
    for number in best:
        if number in offered and not (number in current and store.has(current[number])):
            with tempfile.TemporaryDirectory() as drafts:
                path = Path(drafts, offered[number]["filename"])
                try:
                    write_model(stored.reader, number, path)
                except FlatselectError as error:
                    failures[number] = str(error)
                else:
                    with _blame(folder):
                        kept[number] = _take_in(stored, store, path, current.get(number))
                    models[kept[number]] = {"trial": number, "checkpoint": offered[number]["artifact_id"]}
                    # At once: who is interrupted leaves nothing that is not known to be ours.
                    stored.set_attribute(_MODELS_ATTRIBUTE, models)
                    sizes[number] = path.stat().st_size
        advance()
    with _blame(folder):
        _remove(stored, store, models.keys() - kept.values())
    stored.set_attribute(_MODELS_ATTRIBUTE, {key: models[key] for key in kept.values()})
    n_here = sum(store.has(key) for key in kept.values())
    return SavedModels(n_here - len(sizes), sizes, len(kept) - n_here, len(listed.keys() - kept.keys()), failures)


def count_models(stored: StoredStudy) -> int:
    """How many are stored."""
    return len(_read_models(stored))


def remove_models(stored: StoredStudy, folder: Path | None) -> tuple[int, int]:
    """Takes out all, and returns how many there were, and how many files of them in the folder.

    Args:
        stored: Where.
        folder: Of the artifact store; None will do where none are stored.

    Raises:
        ConfigError: There are some, and no folder was given, or it is none that can be written to.
    """
    models = _read_models(stored)
    if folder is None:
        if models:
            raise ConfigError(
                f"{len(models)} models are saved too: give --artifact-dir FOLDER, from which their files are to go"
            )
        return 0, 0
    if not folder.is_dir():
        raise ConfigError(f"--artifact-dir {folder}: no such folder; give the one that --save was given")
    with _blame(folder):
        n_files = _remove(stored, WholeFileStore(folder), models.keys())
    stored.delete_attributes({_MODELS_ATTRIBUTE})
    return len(models), n_files


def _read_models(stored: StoredStudy) -> dict[str, dict[str, Any]]:
    """The trial and the checkpoint's SHA-256 of each model that is stored, by the artifact's id."""
    return dict(stored.read_attributes(_MODELS_ATTRIBUTE).get(_MODELS_ATTRIBUTE, {}))


def _take_in(stored: StoredStudy, store: WholeFileStore, path: Path, same: str | None) -> str:
    """Stores a model's file, under the id of the `same` one where it has an entry; returns the artifact's id."""
    if same is not None:
        with path.open("rb") as file:
            store.write(same, file)
        return same
    before = stored.read_attributes(_ARTIFACT_KEY).keys()
    try:
        return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=stored.study)
    except BaseException:
        # Optuna writes the entry first, which would lead nowhere now.
        stored.delete_attributes(stored.read_attributes(_ARTIFACT_KEY).keys() - before)
        raise


def _remove(stored: StoredStudy, store: WholeFileStore, ids: Set[str]) -> int:
    """Takes out files and entries; returns how many files there were."""
    n_files = 0
    for artifact_id in ids:
        with contextlib.suppress(ArtifactNotFound):
            store.remove(artifact_id)
            n_files += 1
    stored.delete_attributes({f"{_ARTIFACT_KEY}{artifact_id}" for artifact_id in ids})
    return n_files


@contextlib.contextmanager
def _blame(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"--artifact-dir {folder}: {reason}; give a folder that can be written to") from None
