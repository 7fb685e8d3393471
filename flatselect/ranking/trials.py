"""The order in which a search puts its trials: by predicted test score alone."""

from collections.abc import Sequence

from flatselect.ranking.prediction_order import interval_width, order_prediction
from flatselect.records import TrialRecord

_RANKED_STATES = ("COMPLETE", "PRUNED")


def rank_trials(trials: Sequence[TrialRecord]) -> list[int]:
    """Trial numbers, best first.

    The higher predicted test score is better, of complete and of pruned trials alike: a pruned trial's weights are as
    they were measured last, and so is its prediction. Scores end at 0 and 1: of two that tie there, the one with the
    higher training score − predicted gap is better. Then a complete trial is, then the narrower interval of the gap,
    then the lower number. Complete trials without a prediction follow, by training score. Failed and running trials,
    and pruned ones without a prediction, are left out, and so are those that were trained again on all labelled data:
    the network of the complete retraining stands for the candidate. Audited scores are not read.
    """
    superseded = {trial.retrains for trial in trials if trial.state == "COMPLETE"}
    ranked = [
        trial
        for trial in trials
        if trial.number not in superseded
        and trial.state in _RANKED_STATES
        and (trial.prediction is not None or trial.state == "COMPLETE")
    ]
    return [trial.number for trial in sorted(ranked, key=_sort_key)]


def _sort_key(trial: TrialRecord) -> tuple[bool, float, float, int, float, int]:
    order = _RANKED_STATES.index(trial.state)
    if trial.prediction is not None:
        train_score = None if trial.measurement is None else trial.measurement.train_score
        by_score = order_prediction(trial.prediction, train_score)
        return False, *by_score, order, interval_width(trial.prediction), trial.number
    # Trained but never measured: nothing better than the training score is known, and it may be missing too.
    score = float("-inf") if trial.measurement is None else trial.measurement.train_score
    return True, -score, 0.0, order, 0.0, trial.number
