"""What Optuna is told of a trial: its reports, the question whether to prune it, and its end."""

import warnings
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from flatselect.config import StudySection
from flatselect.pruning import FlatnessPruner
from flatselect.records import Cost, EpochMeasurement, Prediction
from flatselect.search.running_trial import FLATNESS_ATTRIBUTE, RunningTrial

Direction = Literal["maximize", "minimize"]
# Epochs that Optuna has not been told, with what is predicted of them; None where a held-out score was measured.
News = list[tuple[EpochMeasurement, Prediction | None]]
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

    def report_news(self, running: RunningTrial, news: News, *, is_resumed: bool, is_last: bool) -> str | None:
        """Reports what is new; why the trial should be pruned, None to go on.

        Only numbers in the objective's unit are reported: held-out scores of calibration trials, predicted test scores
        of all others. A trial taken up again is asked about even if nothing is new: the former run may have died over
        the answer. After its last epoch nothing is left to prune.
        """
        for measurement, prediction in news:
            if prediction is None:
                assert measurement.holdout_score is not None
                value = measurement.holdout_score
            else:
                running.prediction = prediction
                value = prediction.predicted_test_score
            self._report(running, value, measurement)
        is_to_be_asked = bool(news) or (is_resumed and bool(running.reported))
        may_be_pruned = is_to_be_asked and not is_last and running.may_be_pruned
        return self._why_prune(running) if may_be_pruned else None

    def _report(self, running: RunningTrial, score: float, measurement: EpochMeasurement) -> None:
        """Reports a score of one epoch, held out or predicted; `running.prediction` is what predicted it, if any."""
        interval = None if running.prediction is None else running.prediction.predicted_test_score_interval
        known = dict(enumerate(self._read_costs(measurement), 1))
        running.trial.set_user_attr(FLATNESS_ATTRIBUTE, measurement.relative_gap_flatness)
        FlatnessPruner.report(running.trial, score, measurement.epoch, interval=interval, known=known)
        running.reported.add(measurement.epoch)

    def _why_prune(self, running: RunningTrial) -> str | None:
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
