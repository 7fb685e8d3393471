"""Plots, note and models stored in a study, as Optuna and optuna-dashboard store them: any dashboard shows them.

Neither has a function that takes them out again, so their rows are deleted: a plot replaced by nothing breaks the page,
and an artifact's entry replaced by null, as optuna-dashboard does it, breaks Optuna's list of artifacts.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import plotly.graph_objects
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage

from flatselect.dashboard.models import N_OFFERED, list_models, write_model
from flatselect.dashboard.notes import SAVED_ENDING, make_study_note
from flatselect.dashboard.plots import PLOT_PREFIX, make_figures
from flatselect.dashboard.saved_note import is_own_note, sign_note
from flatselect.errors import ConfigError, FlatselectError
from flatselect.report.study_contents import Detail, StudyContents
from flatselect.store.engine import open_transaction
from flatselect.store.optuna_trials import read_study_ids
from flatselect.store.study_attributes import delete_system_attributes
from flatselect.store.study_reader import StudyReader

# Every read of the study's attributes reads what is saved.
SAVED_DETAIL = Detail(points=300, best_curves=10, other_curves=20, curve_epochs=50)
_MODELS_ATTRIBUTE = "flatselect:saved_models"
# As optuna-dashboard and Optuna name what they store.
_PLOT_KEY = f"dashboard:plot_data:{PLOT_PREFIX}"
_NOTE_KEY = "dashboard:note_"
_ARTIFACT_KEY = "artifacts:"


@dataclass
class SavedModels:
    """What became of the models of the best trials.

    Attributes:
        n_kept: That were saved before, of the same checkpoints.
        sizes: In bytes, of those that are new, by the trial's number.
        n_removed: That were saved before: of earlier checkpoints, of trials overtaken since, or in another folder.
        failures: Why there is none, by the trial's number.
    """

    n_kept: int
    sizes: dict[int, int]
    n_removed: int
    failures: dict[int, str]


class SavedAdditions:
    """What is stored of ours in one study.

    Every method raises what Optuna raises, or StoreError, where the database cannot do it.

    Args:
        reader: Of the study.
        storage: Optuna's, on the same database.
    """

    def __init__(self, reader: StudyReader, storage: RDBStorage) -> None:
        self._reader = reader
        self._storage = storage
        with open_transaction(reader.engine) as connection:
            self._study_id = read_study_ids(connection)[reader.study_uid]
        self._study = optuna.load_study(study_name=storage.get_study_name_from_id(self._study_id), storage=storage)

    def save_plots(self, contents: StudyContents) -> dict[str, int]:
        """Stores the plots in place of those that were; returns how long each is, in characters, by its name."""
        figures = make_figures(contents)
        stale = {key for key in self._read_keys(_PLOT_KEY) if _find_plot(key) not in figures}
        delete_system_attributes(self._reader.engine, self._study_id, stale)
        sizes = {}
        for name, layout in figures.items():
            figure = plotly.graph_objects.Figure(layout)
            figure.layout.template = {}  # the dashboard's own; plotly's is as large as a plot
            optuna_dashboard.save_plotly_graph_object(self._study, figure, graph_object_id=name)
            sizes[name] = len(figure.to_json())
        return sizes

    def save_note(self, contents: StudyContents) -> int | None:
        """Stores the note in place of the one that was; returns its length.

        A note that the user has written stays, and None is returned.
        """
        stored = optuna_dashboard.get_note(self._study)
        if stored and not is_own_note(stored):
            return None
        note = sign_note(make_study_note(contents, SAVED_ENDING))
        optuna_dashboard.save_note(self._study, note)
        return len(note)

    def save_models(
        self, contents: StudyContents, folder: Path, advance: Callable[[], None] = lambda: None
    ) -> SavedModels:
        """Stores the models of the best trials as artifacts of the study, in place of those that were.

        Optuna lets nobody add to a trial that has ended, so they are the study's. One that is there already, of the
        same trial and checkpoint, is kept, also where that checkpoint is gone by now.

        Args:
            contents: The study.
            folder: Of the artifact store; made where there is none.
            advance: Called after each of the best trials.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        store = _open_store(folder)
        known = self._read_models()
        # By the trial's number; what the folder lacks was saved elsewhere, or removed.
        stored = {entry["trial"]: key for key, entry in known.items() if _has_artifact(store, key)}
        offered = list_models(contents, self._reader)
        kept: set[str] = set()
        sizes: dict[int, int] = {}
        failures: dict[int, str] = {}
        for number in contents.ranking[:N_OFFERED]:
            model, found = offered.get(number), stored.get(number)
            if model is not None and (found is None or known[found]["checkpoint"] != model["artifact_id"]):
                try:
                    content = write_model(self._reader, number)
                except FlatselectError as error:
                    failures[number] = str(error)
                else:
                    with _blame(folder):
                        found = self._upload(store, model["filename"], content)
                    known[found] = {"trial": number, "checkpoint": model["artifact_id"]}
                    # At once: who is interrupted leaves nothing that is not known to be ours.
                    self._write_models(known)
                    sizes[number] = len(content)
            if found is not None:
                kept.add(found)
            advance()
        removed = known.keys() - kept
        with _blame(folder):
            self._remove_models(store, removed)
        self._write_models({key: known[key] for key in known if key in kept})
        return SavedModels(len(kept) - len(sizes), sizes, len(removed), failures)

    def count_models(self) -> int:
        """How many models are stored."""
        return len(self._read_models())

    def remove(self, folder: Path | None) -> tuple[int, bool, int]:
        """Takes out everything that is ours.

        Args:
            folder: Of the artifact store; None will do where no models are stored.

        Returns:
            The number of plots, whether there was a note of ours, and the number of models.

        Raises:
            ConfigError: There are models, and no folder was given, or it cannot be written to.
        """
        models = self._read_models()
        if models and folder is None:
            raise ConfigError(
                f"{len(models)} models are saved too: give --artifact-dir FOLDER, from which their files are to go"
            )
        if folder is not None:
            with _blame(folder):
                self._remove_models(_open_store(folder), set(models))
        plots = set(self._read_keys(_PLOT_KEY))
        note = set(self._read_keys(_NOTE_KEY)) if is_own_note(optuna_dashboard.get_note(self._study)) else set()
        delete_system_attributes(self._reader.engine, self._study_id, {_MODELS_ATTRIBUTE, *plots, *note})
        return len({_find_plot(key) for key in plots}), bool(note), len(models)

    def _upload(self, store: FileSystemArtifactStore, name: str, content: bytes) -> str:
        before = set(self._read_keys(_ARTIFACT_KEY))
        with tempfile.TemporaryDirectory() as drafts:
            path = Path(drafts, name)
            path.write_bytes(content)
            try:
                return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=self._study)
            except OSError:
                # Optuna writes the entry first, which would lead nowhere now.
                entries = set(self._read_keys(_ARTIFACT_KEY)) - before
                self._remove_models(store, {key.removeprefix(_ARTIFACT_KEY) for key in entries})
                raise

    def _remove_models(self, store: FileSystemArtifactStore, ids: set[str]) -> None:
        for artifact_id in ids:
            with contextlib.suppress(ArtifactNotFound):
                store.remove(artifact_id)
        entries = {f"{_ARTIFACT_KEY}{artifact_id}" for artifact_id in ids}
        delete_system_attributes(self._reader.engine, self._study_id, entries)

    def _read_keys(self, prefix: str) -> Iterator[str]:
        return (key for key in self._storage.get_study_system_attrs(self._study_id) if key.startswith(prefix))

    def _read_models(self) -> dict[str, dict[str, Any]]:
        """The trial and the checkpoint's SHA-256 of each model that is stored, by the artifact's id."""
        return dict(self._storage.get_study_system_attrs(self._study_id).get(_MODELS_ATTRIBUTE, {}))

    def _write_models(self, models: dict[str, dict[str, Any]]) -> None:
        self._storage.set_study_system_attr(self._study_id, _MODELS_ATTRIBUTE, models)


def _find_plot(key: str) -> str:
    """The plot of which the attribute of this key is a part."""
    return key.removeprefix(_PLOT_KEY.removesuffix(PLOT_PREFIX)).rpartition(":")[0]


def _open_store(folder: Path) -> FileSystemArtifactStore:
    with _blame(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(folder)


def _has_artifact(store: FileSystemArtifactStore, artifact_id: str) -> bool:
    try:
        store.open_reader(artifact_id).close()
    except ArtifactNotFound:
        return False
    return True


@contextlib.contextmanager
def _blame(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"--artifact-dir {folder}: {reason}; give a folder that can be written to") from None
