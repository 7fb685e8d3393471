"""FlatnessPruner: gives a trial up when even the upper bound of its predicted test score falls short.

Works in any single-objective Optuna study whose intermediate values are predictions of the final value.
"""

import math
from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

INTERVAL_ATTRIBUTE = "flatselect:predicted_test_score_interval"
CALIBRATION_ATTRIBUTE = "flatselect:is_calibration"

Reference = Literal["best", "median", "envelope"]


class FlatnessPruner(optuna.pruners.BasePruner):
    """X."""

    def __init__(
        self,
        *,
        startup_trials: int = 4,
        warmup_epochs: int = 2,
        patience: int = 1,
        margin: float = 0.0,
        reference: Reference = "best",
    ) -> None:
        self._startup_trials = startup_trials
        self._warmup_epochs = warmup_epochs
        self._patience = patience
        self._margin = margin
        self._reference = reference

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return self.explain(study, trial) is not None

    def explain(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        if trial.user_attrs.get(CALIBRATION_ATTRIBUTE) or not trial.intermediate_values:
            return None
        epochs = sorted(trial.intermediate_values)
        epoch = epochs[-1]
        value = trial.intermediate_values[epoch]
        if math.isnan(value):
            return f"epoch {epoch}: the reported value is NaN"
        if epoch <= self._warmup_epochs or len(epochs) < self._patience:
            return None
        finished = [
            other
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if other.intermediate_values
        ]
        if len(finished) < max(1, self._startup_trials):
            return None
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        slack = _find_slack(trial, value, sign)
        reason = None
        for epoch in epochs[-self._patience :]:
            bound = sign * trial.intermediate_values[epoch] + slack
            needed, whose = self._find_needed(finished, epoch, sign)
            if not bound < needed - self._margin:
                return None
            reason = f"{epoch}: {bound} < {needed} {whose}"
        return reason

    def _find_needed(self, finished: Sequence[FrozenTrial], epoch: int, sign: float) -> tuple[float, str]:
        if self._reference == "best":
            best = max(finished, key=lambda t: sign * t.value)
            return _value_at(best, epoch, sign), f"of trial {best.number}"
        values = sorted(_value_at(t, epoch, sign) for t in finished)
        if self._reference == "envelope":
            return values[-1], "env"
        return values[len(values) // 2], "median"


def _find_slack(trial: FrozenTrial, value: float, sign: float) -> float:
    interval = trial.user_attrs.get(INTERVAL_ATTRIBUTE)
    return 0.0 if interval is None else max(0.0, max(sign * v for v in interval) - sign * value)


def _value_at(trial: FrozenTrial, epoch: int, sign: float) -> float:
    v = trial.intermediate_values
    if epoch in v:
        return sign * v[epoch]
    earlier = [e for e in v if e <= epoch]
    return sign * v[max(earlier)] if earlier else -math.inf
