"""What a report tells of a study, read once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.ranking import find_pareto_front, rank_trials
from flatselect.records import EpochMeasurement, TrialRecord, read_costs
from flatselect.report.chart import MOST_POINTS, thin
from flatselect.store.engine import show_url
from flatselect.store.study_reader import AttemptRecord, RunRecord, StudyReader

N_READINGS = 4  # which `read_study_contents` tells of


@dataclass(frozen=True)
class Detail:
    """How much charts draw of a large study; their captions say what they leave out.

    Attributes:
        points: Of trials, in one chart.
        best_curves: Curves of the best trials.
        other_curves: Of the others, evenly by number.
        curve_epochs: Of each curve, evenly; None: all.
    """

    points: int = MOST_POINTS
    best_curves: int = 40
    other_curves: int = 80
    curve_epochs: int | None = None


FULL = Detail()


@dataclass(frozen=True)
class StudyContents:
    """A study as it was at one moment.

    Attributes:
        storage: The database, without a password.
        config: The study file's plain values.
        data: What is known of the training images.
        trials: By number.
        ranking: Numbers, best first. Audited scores have no part in it.
        pareto_front: Numbers; None where there is one objective.
        attempts: The last of each trial, by its number.
        runs: Earliest first.
        distributions: What Optuna draws each parameter from.
        curves: Of the trials that are shown: the best, and of the others some, evenly by number.
        calibrator: The latest; None where there is none.
        detail: How much of it charts are to draw.
    """

    name: str
    storage: str
    config: dict[str, Any]
    data: dict[str, Any]
    trials: Mapping[int, TrialRecord]
    ranking: tuple[int, ...]
    pareto_front: tuple[int, ...] | None
    attempts: Mapping[int, AttemptRecord]
    runs: tuple[RunRecord, ...]
    distributions: Mapping[str, BaseDistribution]
    curves: Mapping[int, list[EpochMeasurement]]
    calibrator: GapPredictor | None
    detail: Detail = FULL

    @property
    def ranked(self) -> list[TrialRecord]:
        """The ranked trials, best first."""
        return [self.trials[number] for number in self.ranking]

    @property
    def audited(self) -> list[TrialRecord]:
        """Those with a score on the audit split, by number."""
        return [trial for trial in self.trials.values() if trial.audit_test_score is not None]

    @property
    def has_audit_set(self) -> bool:
        return bool(self.config.get("data", {}).get("audit"))

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials.values())

    def planned_epochs(self, number: int) -> int:
        """Those that the trial was to train, had it not been given up."""
        attempt = self.attempts.get(number)
        training = (attempt.candidate.get("training") if attempt else None) or self.config.get("training", {})
        return int(training.get("epochs", self.trials[number].epochs))


def read_study_contents(
    reader: StudyReader, advance: Callable[[], None] = lambda: None, detail: Detail = FULL
) -> StudyContents:
    """Reads everything; of many trials, the curves of some.

    Args:
        reader: Of the study.
        advance: Called after each of `N_READINGS` parts.
        detail: How much charts are to draw.

    Raises:
        StoreError: The database cannot do it.
    """
    config = reader.config()
    trials = {trial.number: trial for trial in reader.trials(include_audits=True)}
    advance()
    ranking = rank_trials(list(trials.values()))
    costs = read_costs(config)
    attempts = {attempt.trial_number: attempt for attempt in reader.attempts()}
    advance()
    curves = _read_curves(reader, trials, ranking, detail)
    advance()
    calibrator = reader.latest_calibrator()
    predictor = GapPredictor.from_dict(calibrator[1]) if calibrator else None
    advance()
    return StudyContents(
        name=reader.name(),
        storage=show_url(reader.engine),
        config=config,
        data=reader.data(),
        trials=trials,
        ranking=tuple(ranking),
        pareto_front=tuple(find_pareto_front(list(trials.values()), costs)) if costs else None,
        attempts=attempts,
        runs=tuple(run for run in reader.runs() if run.is_search),
        distributions=reader.distributions(),
        curves=curves,
        calibrator=predictor,
        detail=detail,
    )


def _read_curves(
    reader: StudyReader, trials: Mapping[int, TrialRecord], ranking: list[int], detail: Detail
) -> dict[int, list[EpochMeasurement]]:
    with_epochs = [number for number, trial in trials.items() if trial.measurement is not None]
    if len(with_epochs) <= detail.best_curves + detail.other_curves:
        return reader.measurements()
    best = ranking[: detail.best_curves]
    others = sorted(set(with_epochs) - set(best))
    shown = sorted([*best, *(others[index] for index in thin(len(others), detail.other_curves))])
    return {number: curve for number in shown for curve in reader.measurements(number).values()}
