"""What flatselect adds to optuna-dashboard's answers: made when they are asked for, and kept for a while."""

import math
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from optuna.storages import RDBStorage

from flatselect.dashboard.models import list_models, write_model
from flatselect.dashboard.notes import LIVE_ENDING, make_study_note, make_trial_notes
from flatselect.dashboard.plots import make_plots
from flatselect.report.study_contents import read_study_contents
from flatselect.search.trial_history import read_history
from flatselect.store.engine import make_engine, open_transaction, show_url
from flatselect.store.optuna_storage import translate_optuna_errors
from flatselect.store.optuna_trials import UID_ATTRIBUTE, read_study_ids
from flatselect.store.study_reader import StudyReader

_FRESH_SECONDS = 5.0
_LONGEST_SHARE = 0.1  # of the time


@dataclass(frozen=True)
class Additions:
    """What is added to one study.

    Attributes:
        plots: Plotly's JSON, by a name that is fit for HTML.
        note: Markdown, of the study.
        trial_notes: Markdown, by the trial's number.
        models: What the dashboard is to know of the best trials' models, by the trial's number.
    """

    plots: dict[str, str] = field(default_factory=dict)
    note: str = ""
    trial_notes: dict[int, str] = field(default_factory=dict)
    models: dict[int, dict[str, str]] = field(default_factory=dict)


class AdditionsCache:
    """The additions of the studies of one database.

    They are made anew when they are asked for after five seconds, or later where that would take more than a tenth of
    the time.
    """

    def __init__(self, storage: RDBStorage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._url = storage.engine.url.render_as_string(hide_password=False)
        self._readers: dict[int, StudyReader] = {}
        self._made: dict[int, tuple[Additions, float]] = {}  # with when they are to be made anew
        self._lock = threading.Lock()

    def find(self, study_id: int) -> Additions | None:
        """What is added to the study of this number of Optuna's; None: it is not flatselect's.

        Raises:
            StoreError: The database cannot do it.
        """
        with translate_optuna_errors(show_url(self._storage.engine)):
            uid = self._storage.get_study_user_attrs(study_id).get(UID_ATTRIBUTE)
        # A copy of a study has its uid too, and is not what flatselect's tables are of.
        with open_transaction(self._storage.engine) as connection:
            if uid is None or read_study_ids(connection).get(uid) != study_id:
                return None
        with self._lock:
            additions, due = self._made.get(study_id, (Additions(), -math.inf))
            started = self._clock()
            if started >= due:
                if study_id not in self._readers:
                    self._readers[study_id] = StudyReader(make_engine(self._url, create=False), uid)
                additions = make_additions(self._readers[study_id])
                ended = self._clock()
                due = ended + max(_FRESH_SECONDS, (ended - started) / _LONGEST_SHARE)
                self._made[study_id] = (additions, due)
            return additions

    def write_model(self, study_id: int, artifact_id: str) -> tuple[str, bytes] | None:
        """Name and content of the file of a model that is offered; None of one that is not.

        Raises:
            FlatselectError: The model cannot be written, or the database not be read.
        """
        additions = self.find(study_id)
        for number, model in additions.models.items() if additions else ():
            if model["artifact_id"] == artifact_id:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder, model["filename"])
                    write_model(self._readers[study_id], number, path)
                    return path.name, path.read_bytes()
        return None

    def close(self) -> None:
        """Closes the connections."""
        for reader in self._readers.values():
            reader.close()


def make_additions(reader: StudyReader) -> Additions:
    """Plots, notes and models of a study as it is now.

    Raises:
        StoreError: The database cannot do it.
    """
    contents = read_study_contents(reader)
    return Additions(
        plots=make_plots(contents),
        note=make_study_note(contents, LIVE_ENDING),
        trial_notes=make_trial_notes(contents, read_history(reader)),
        models=list_models(contents, reader),
    )
