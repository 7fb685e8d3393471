"""FlatnessPruner: gives a trial up when even the upper bound of its predicted final score falls short.

It needs nothing but what a trial has reported, so it works in any Optuna study:

    study = optuna.create_study(direction="maximize", pruner=FlatnessPruner())
    ...
    trial.set_user_attr("flatselect:predicted_test_score_interval", [low, high])  # optional
    trial.report(predicted_test_score, epoch)
    if trial.should_prune(): ...

Optuna's own `report` and `should_prune` refuse a study of several objectives. The pruner's do not:

    pruner.report(trial, predicted_test_score, epoch, interval=[low, high], known={1: n_parameters})
    if pruner.should_prune(trial): ...

This file imports nothing of flatselect: it is also the OptunaHub package `pruners/flatness_pruner`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import stdtrit

INTERVAL_ATTRIBUTE = "flatselect:predicted_test_score_interval"
CALIBRATION_ATTRIBUTE = "flatselect:is_calibration"
PRUNED_ATTRIBUTE = "flatselect:pruned_because"
REPORTS_ATTRIBUTE = "flatselect:reports"
KNOWN_ATTRIBUTE = "flatselect:known_values"

Reference = Literal["median", "upper_quartile", "best"]

_QUANTILES: dict[Reference, float] = {"median": 0.5, "upper_quartile": 0.75, "best": 1.0}
# A line and its scatter: with two trials there is no scatter.
_LEAST_FINISHED = 3
# Half a 90 % interval in standard deviations of a normal error.
_DEVIATIONS_IN_INTERVAL = 1.645
# Of some users' objectives every batch is a step.
_MOST_EPOCHS_KEPT = 1000

Array = npt.NDArray[np.float64]


class FlatnessPruner(optuna.pruners.BasePruner):
    """Prunes a trial when the upper bound of its predicted final value is under what finished trials came to.

    **The prediction** is learned from the finished (COMPLETE) trials, anew at each epoch e: a straight line of slope
    ≥ 0, by least squares, from x = the mean of a trial's last three reports up to e to y = the value it ended with.
    With n finished trials, s² = Σ residuals² / (n − 2), and h = the distance from the trial's latest report to the
    optimistic end of its interval (the user attribute "flatselect:predicted_test_score_interval" = [low, high], taken
    for a 90 % one; without it h = 0), g = the same of the finished trial that it must reach, to the pessimistic end:

        upper bound = ŷ(x) + t(n − 2, confidence) · √( s² (1 + 1/n + (x − x̄)² / Σ(xᵢ − x̄)²) + (h² + g²) / 1.645² )

    So an epoch that says nothing of the end prunes nobody, a trial unlike the finished ones is given the benefit of the
    doubt, and a finished trial whose own prediction is a guess does not set the bar for others. **What is needed** is
    the `reference` among the values the finished trials ended with, less `margin`. A study that minimises is mirrored.

    **Several objectives**: the one with index `objective` is predicted; report with `pruner.report`. What is needed is
    then looked for among those finished trials that are at least as good in *every* other objective, by the values that
    `known` gave. If there are none, or another objective's value is not known, the trial goes on: it may be wanted for
    that one's sake. So "best" prunes exactly the trials whose optimistic outcome a finished trial dominates.

    Why a trial was pruned stands in its user attribute "flatselect:pruned_because", in words. Trials with the user
    attribute "flatselect:is_calibration" are never pruned, but others are compared with them. A report that is NaN or
    infinite is pruned at once. Epochs are the steps of the reports, from 1. Units are the objective's.

    docs/pruning.md has what it saves, what it loses, and the rules that were tried and dropped.

    Args:
        startup_trials: Finished trials before any is pruned; never fewer than 3.
        warmup_epochs: Epochs of each trial in which it is not pruned.
        patience: Reports in a row whose bound must fall short. An earlier report's h is the latest one's.
        margin: By how much the bound must fall short, in the unit of the objective.
        reference: "median", "upper_quartile" or "best" of the values that finished trials ended with.
        confidence: With what probability the final value is to be under the bound, in [0.5, 1).
        objective: Index of the objective that is reported and predicted.

    Raises:
        ValueError: An argument that is not as above.
    """

    def __init__(
        self,
        *,
        startup_trials: int = 4,
        warmup_epochs: int = 0,
        patience: int = 1,
        margin: float = 0.0,
        reference: Reference = "best",
        confidence: float = 0.7,
        objective: int = 0,
    ) -> None:
        for name, value, least in (
            ("startup_trials", startup_trials, 0),
            ("warmup_epochs", warmup_epochs, 0),
            ("patience", patience, 1),
            ("margin", margin, 0),
            ("objective", objective, 0),
        ):
            if not value >= least:
                raise ValueError(f"{name} = {value!r}; expected a number of at least {least}")
        if reference not in _QUANTILES:
            raise ValueError(f"reference = {reference!r}; expected one of {', '.join(get_args(Reference))}")
        if not 0.5 <= confidence < 1:
            raise ValueError(f"confidence = {confidence!r}; expected a number of at least 0.5 and under 1")
        self._startup_trials = startup_trials
        self._warmup_epochs = warmup_epochs
        self._patience = patience
        self._margin = margin
        self._reference: Reference = reference
        self._confidence = confidence
        self._objective = objective
        self._finished: _FinishedTrials | None = None  # of the study that was asked about last

    @staticmethod
    def report(
        trial: optuna.Trial,
        value: float,
        epoch: int,
        *,
        interval: Sequence[float] | None = None,
        known: Mapping[int, float] | None = None,
    ) -> None:
        """What `trial.report` does, in a study of one objective or of several.

        Args:
            trial: The running trial.
            value: Its predicted objective after this epoch. Of several reports of one epoch, the first counts.
            epoch: From 1.
            interval: (low, high) of this value; None keeps the one given last.
            known: Values of other objectives that are known already, by index, such as {1: n_parameters}.
        """
        if interval is not None:
            trial.set_user_attr(INTERVAL_ATTRIBUTE, [float(end) for end in interval])
        if known:
            before = trial.user_attrs.get(KNOWN_ATTRIBUTE, {})
            trial.set_user_attr(KNOWN_ATTRIBUTE, before | {str(index): float(known[index]) for index in known})
        if len(trial.study.directions) == 1:
            trial.report(value, epoch)
        else:
            before = trial.user_attrs.get(REPORTS_ATTRIBUTE, {})
            trial.set_user_attr(REPORTS_ATTRIBUTE, {str(epoch): float(value)} | before)

    def should_prune(self, trial: optuna.Trial) -> bool:
        """What `trial.should_prune` does, in a study of one objective or of several; the caller raises TrialPruned."""
        return self.prune(trial.study, trial.study.get_trials(deepcopy=False)[trial.number])

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should be given up after its latest report (Optuna's contract); why is kept with it."""
        reason = self.explain(study, trial)
        if reason is not None and trial.state == TrialState.RUNNING:
            # `trial` is a copy. Optuna gives a pruner no other way to write to the trial itself.
            study._storage.set_trial_user_attr(trial._trial_id, PRUNED_ATTRIBUTE, reason)
        return reason is not None

    def explain(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        """Why the trial would be given up after its latest report, in words; None if it would not.

        Raises:
            ValueError: The study has no objective of index `objective`.
        """
        if self._objective >= len(study.directions):
            raise ValueError(f"objective = {self._objective}; the study has {len(study.directions)}, counted from 0")
        reports = read_reports(trial)
        if trial.user_attrs.get(CALIBRATION_ATTRIBUTE) or not reports:
            return None
        *_, epoch = epochs = sorted(reports)
        if not math.isfinite(reports[epoch]):
            return f"epoch {epoch}: {reports[epoch]} was reported"
        if epoch <= self._warmup_epochs or len(epochs) < self._patience:
            return None
        finished = self._find_finished(study)
        rivals = finished.by_value[self._are_as_good_elsewhere(study, finished, trial)[finished.by_value]]
        if len(finished.trials) < max(_LEAST_FINISHED, self._startup_trials) or not len(rivals):
            return None

        sign = _sign(study.directions[self._objective])
        rival = finished.trials[rivals[math.floor(_QUANTILES[self._reference] * (len(rivals) - 1))]]
        needed = rival.values[self._objective]
        unsure = math.hypot(_find_half_width(trial, sign), _find_half_width(rival, -sign)) / _DEVIATIONS_IN_INTERVAL
        bounds = [self._find_bound(finished, reports, epoch, sign, unsure) for epoch in epochs[-self._patience :]]
        if not all(bound is not None and sign * bound < sign * needed - self._margin for bound in bounds):
            return None
        margin = f" by more than {self._margin:g}" if self._margin else ""
        elsewhere = " that are as good in all other objectives" if len(study.directions) > 1 else ""
        return (
            f"epoch {epoch}: {'upper' if sign > 0 else 'lower'} bound {bounds[-1]:.4g} of its predicted final value "
            f"{'<' if sign > 0 else '>'} {needed:.4g}{margin}, "
            f"the {self._reference.replace('_', ' ')} of the {len(rivals)} finished trials{elsewhere} "
            f"(trial {rival.number})"
        )

    def _find_finished(self, study: optuna.Study) -> "_FinishedTrials":
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        finished = self._finished
        if finished is None or not finished.is_of(study.directions):
            finished = _FinishedTrials.none(study.directions, self._objective)
        # Threads may ask at once: each of these is complete, whichever stays.
        self._finished = finished = finished.take_in(trials)
        return finished

    def _are_as_good_elsewhere(
        self, study: optuna.Study, finished: "_FinishedTrials", trial: FrozenTrial
    ) -> npt.NDArray[np.bool_]:
        """Whether each finished trial is at least as good as this one in every other objective, (n_trials,)."""
        known = trial.user_attrs.get(KNOWN_ATTRIBUTE, {})
        are = np.ones(len(finished.trials), dtype=np.bool_)
        for index, direction in enumerate(study.directions):
            if index != self._objective:
                least = known.get(str(index), math.nan)
                are &= _sign(direction) * (finished.values[:, index] - least) >= 0
        return are

    def _find_bound(
        self, finished: "_FinishedTrials", reports: Mapping[int, float], epoch: int, sign: int, unsure: float
    ) -> float | None:
        """The optimistic bound of the value that a trial ends with, as seen at this epoch; None if unknown.

        `unsure` is the standard deviation of what is compared, beside that of the end's prediction.
        """
        xs, ys = finished.smooth(epoch), finished.values[:, self._objective]
        are_known = ~np.isnan(xs)
        xs, ys = xs[are_known], ys[are_known]
        x = _smooth(reports, epoch)
        if len(xs) < _LEAST_FINISHED or math.isnan(x):
            return None
        final = _predict_final(xs, ys, x)
        quantile = float(stdtrit(len(xs) - 2, self._confidence))
        return final.value + sign * quantile * math.hypot(final.deviation, unsure)


class _FinishedTrials:
    """The finished trials that a trial can be compared with, as arrays, so that asking costs little among thousands.

    Attributes:
        trials: Those that reported anything and ended with a finite value, by number.
        values: What they ended with, (n_trials, n_objectives).
        by_value: Indices of `trials`, the worst first, the lower number first among equals, (n_trials,).
    """

    def __init__(
        self,
        directions: Sequence[StudyDirection],
        objective: int,
        seen: Sequence[FrozenTrial],
        trials: list[FrozenTrial],
        values: Array,
        smoothed: dict[int, Array],
    ) -> None:
        self._directions = list(directions)
        self._objective = objective
        self._seen = list(seen)
        self._smoothed = smoothed  # by epoch
        self.trials = trials
        self.values = values
        sign = _sign(directions[objective])
        self.by_value = np.lexsort((np.array([trial.number for trial in trials]), sign * values[:, objective]))

    @classmethod
    def none(cls, directions: Sequence[StudyDirection], objective: int) -> "_FinishedTrials":
        return cls(directions, objective, [], [], np.empty((0, len(directions))), {})

    def is_of(self, directions: Sequence[StudyDirection]) -> bool:
        """Whether these may be trials of a study with these directions."""
        return self._directions == list(directions)

    def take_in(self, finished: Sequence[FrozenTrial]) -> "_FinishedTrials":
        """These, with what has finished since; of another study, its own instead.

        Args:
            finished: The complete trials of the study, by number; storages give the same objects again and again.
        """
        if self._seen == finished:
            return self
        seen = {id(trial) for trial in self._seen}
        added = [trial for trial in finished if id(trial) not in seen]
        if len(seen) + len(added) != len(finished):
            return self.none(self._directions, self._objective).take_in(finished)
        usable = [f for f in added if read_reports(f) and math.isfinite(f.values[self._objective])]
        places = np.searchsorted([trial.number for trial in self.trials], [trial.number for trial in usable])
        values = np.array([trial.values for trial in usable]).reshape(len(usable), len(self._directions))
        return _FinishedTrials(
            self._directions,
            self._objective,
            finished,
            sorted([*self.trials, *usable], key=lambda trial: trial.number),
            np.insert(self.values, places, values, axis=0),
            {
                epoch: np.insert(xs, places, [_smooth(read_reports(trial), epoch) for trial in usable])
                for epoch, xs in self._smoothed.items()
            },
        )

    def smooth(self, epoch: int) -> Array:
        """`_smooth` of each trial's reports, (n_trials,)."""
        if epoch not in self._smoothed:
            if len(self._smoothed) >= _MOST_EPOCHS_KEPT:
                self._smoothed = {}
            self._smoothed[epoch] = np.array([_smooth(read_reports(trial), epoch) for trial in self.trials])
        return self._smoothed[epoch]


class _FinalValue(NamedTuple):
    value: float
    deviation: float


def _predict_final(xs: Array, ys: Array, x: float) -> _FinalValue:
    """The value at x of the line through points (xs, ys), and the standard error of a new y there: `FlatnessPruner`."""
    x_mean, y_mean = xs.mean(), ys.mean()
    spread = float(((xs - x_mean) ** 2).sum())
    # A trial that is ahead is not expected to end behind; where all are level, only the mean is known.
    slope = max(0.0, float(((xs - x_mean) * (ys - y_mean)).sum()) / spread) if spread > 0 else 0.0
    variance = float(((ys - y_mean - slope * (xs - x_mean)) ** 2).sum()) / (len(xs) - 2)
    leverage = 1 / len(xs) + ((x - x_mean) ** 2 / spread if spread > 0 else 0.0)
    return _FinalValue(float(y_mean + slope * (x - x_mean)), math.sqrt(variance * (1 + leverage)))


def _smooth(reports: Mapping[int, float], epoch: int) -> float:
    """The mean of the last three finite reports up to this epoch; NaN if there is none.

    Scores jump from epoch to epoch while the learning rate is high; the mean is the better predictor of the end.
    """
    last = [reports[e] for e in sorted(reports) if e <= epoch and math.isfinite(reports[e])][-3:]
    return sum(last) / len(last) if last else math.nan


def read_reports(trial: FrozenTrial) -> dict[int, float]:
    """The reported values by epoch: Optuna's own, or in a study of several objectives those of `report`."""
    values: dict[int, float] = trial.intermediate_values
    return values or {int(epoch): value for epoch, value in trial.user_attrs.get(REPORTS_ATTRIBUTE, {}).items()}


def _find_half_width(trial: FrozenTrial, sign: int) -> float:
    """The distance ≥ 0 from the latest report to its interval's upper end (sign 1) or lower end; 0 without one."""
    reports = read_reports(trial)
    interval = trial.user_attrs.get(INTERVAL_ATTRIBUTE) or [reports[max(reports)]]
    return max(0.0, *(float(sign * (end - reports[max(reports)])) for end in interval))


def _sign(direction: StudyDirection) -> int:
    return -1 if direction == StudyDirection.MINIMIZE else 1
