"""Which checkpoints a study keeps: those of its best trials, where it is not to keep all."""

from collections.abc import Sequence
from dataclasses import dataclass

from flatselect.config import StudyConfig
from flatselect.file_location import delete_file
from flatselect.ranking import find_pareto_front, rank_trials
from flatselect.records import Cost, TrialRecord
from flatselect.search.calibrator_fitting import CalibratorFitting
from flatselect.search.events import SearchObserver
from flatselect.search.study_identity import OpenStudy
from flatselect.store.run_records import CheckpointRecord

_ENDED = ("COMPLETE", "PRUNED", "FAIL")
_TRIALS_A_CLEANING = 8  # each reads all trials


@dataclass(frozen=True)
class Cleaning:
    """What a cleaning has done.

    Attributes:
        deleted: The checkpoints whose files are there no more.
        problems: Why others could not be deleted, one line each.
    """

    deleted: tuple[CheckpointRecord, ...] = ()
    problems: tuple[str, ...] = ()


def find_superfluous(
    trials: Sequence[TrialRecord], checkpoints: dict[int, CheckpointRecord], keep: int, costs: Sequence[Cost] = ()
) -> list[CheckpointRecord]:
    """The checkpoints of ended trials that are not among the best.

    Args:
        trials: Of a study.
        checkpoints: Those that were not deleted, by the trial's number.
        keep: How many of the ranking are kept.
        costs: With these as further objectives the whole Pareto front is kept, too.
    """
    kept = {*rank_trials(trials)[:keep], *(find_pareto_front(trials, costs) if costs else ())}
    ended = [trial.number for trial in trials if trial.state in _ENDED and trial.number not in kept]
    return [checkpoints[number] for number in ended if number in checkpoints]


def delete_checkpoints(opened: OpenStudy, checkpoints: Sequence[CheckpointRecord]) -> Cleaning:
    """Deletes the files, and says so in the database. One that is not there any more counts as deleted.

    The files go first: a process that dies in between leaves rows of files that are gone, which the next one finds.
    """
    deleted, problems = [], []
    for checkpoint in checkpoints:
        try:
            delete_file(checkpoint.path)
        except FileNotFoundError:
            deleted.append(checkpoint)
        except OSError as error:
            problems.append(f"{checkpoint.path}: cannot be deleted ({error})")
        else:
            deleted.append(checkpoint)
    if deleted:
        opened.writer.set_checkpoints_deleted(checkpoint.trial_number for checkpoint in deleted)
    return Cleaning(tuple(deleted), tuple(problems))


class SearchCleaning:
    """Deletes checkpoints while a search runs, as `study.keep_checkpoints` asks.

    Nothing is deleted before every calibration trial has ended: until then no ranking stands. From then on the
    predictions of ended trials do not change, so one that is not among the best never will be.
    """

    def __init__(
        self, config: StudyConfig, opened: OpenStudy, fitting: CalibratorFitting, observer: SearchObserver
    ) -> None:
        self._keep = config.study.keep_checkpoints
        self._costs = config.study.minimize
        self._opened = opened
        self._fitting = fitting
        self._observer = observer
        self._n_ended = 0
        self._told: set[str] = set()

    def note_end(self) -> None:
        """A trial has ended: cleans after every few."""
        self._n_ended += 1
        if self._n_ended >= _TRIALS_A_CLEANING:
            self.clean()

    def clean(self) -> None:
        """Deletes what is not to be kept, if anything is."""
        if self._keep is None or not self._fitting.is_settled:
            return
        self._n_ended = 0
        trials = self._opened.reader.trials(include_audits=False)
        superfluous = find_superfluous(trials, self._opened.reader.kept_checkpoints(), self._keep, self._costs)
        for problem in delete_checkpoints(self._opened, superfluous).problems:
            if problem not in self._told:
                self._told.add(problem)
                self._observer.say(problem)
