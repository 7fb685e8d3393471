"""What Optuna is told of a trial: its reports, the question whether to prune it, and its end."""

import warnings
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from flatselect.config import StudySection
from flatselect.pruning import FlatnessPruner
from flatselect.records import Cost, EpochMeasurement
from flatselect.search.running_trial import FLATNESS_ATTRIBUTE, RunningTrial

Direction = Literal["maximize", "minimize"]
PREDICTED_SCORE_NAME = "predicted test score"
_COST_NAMES: dict[Cost, str] = {"parameters": "parameters", "latency": "latency (ms)"}


def list_directions(options: StudySection) -> list[Direction]:
    """The directions of a study's objectives: the predicted test score first, then each of `minimize`."""
    costs: list[Direction] = ["minimize"] * len(options.minimize)
    return [options.direction, *costs]


def name_metrics(study: optuna.Study, options: StudySection) -> None:
    """Gives the study's objectives the names that Optuna's plots and optuna-dashboard show, unless they have some."""
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([PREDICTED_SCORE_NAME, *(_COST_NAMES[cost] for cost in options.minimize)])


class OptunaTeller:
    """Speaks to one Optuna study, whose first objective is the predicted test score.

    With costs as further objectives Optuna's own `report` and `should_prune` refuse; `FlatnessPruner`'s do not.
    """

    def __init__(self, study: optuna.Study, costs: list[Cost]) -> None:
        self._study = study
        self._costs = costs

    def report(self, running: RunningTrial, score: float, measurement: EpochMeasurement) -> None:
        """Reports a score of one epoch, held out or predicted; `running.prediction` is what predicted it, if any."""
        interval = None if running.prediction is None else running.prediction.predicted_test_score_interval
        known = dict(enumerate(self._read_costs(measurement), 1))
        running.trial.set_user_attr(FLATNESS_ATTRIBUTE, measurement.relative_gap_flatness)
        FlatnessPruner.report(running.trial, score, measurement.epoch, interval=interval, known=known)
        running.reported.add(measurement.epoch)

    def why_prune(self, running: RunningTrial) -> str | None:
        """Why the trial should be given up after its latest report; None if it should not."""
        pruner = self._study.pruner
        should_prune = pruner.prune(self._study, self._read(running)) if self._costs else running.trial.should_prune()
        if not should_prune:
            return None
        explain = getattr(pruner, "explain", None)
        return (explain and explain(self._study, self._read(running))) or type(pruner).__name__

    def tell(self, running: RunningTrial, state: TrialState, score: float | None = None) -> None:
        """Ends the trial, with the value of every objective where it is complete.

        Raises:
            UpdateFinishedTrialError: Another process has ended it, and not like this.
        """
        values = None if score is None else [score, *self._read_costs(running.curve[-1])]
        told = self._study.tell(running.number, values, state=state, skip_if_finished=True)
        if told.state != state:
            raise UpdateFinishedTrialError(f"trial {running.number} was ended by another process, as {told.state.name}")

    def _read(self, running: RunningTrial) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[running.number]

    def _read_costs(self, measurement: EpochMeasurement) -> list[float]:
        return [measurement.cost(name) for name in self._costs]
