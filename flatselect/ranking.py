"""The order in which a search puts its trials: by predicted test score alone."""

from collections.abc import Sequence

from flatselect.records import TrialRecord

_RANKED_STATES = ("COMPLETE", "PRUNED")


def rank_trials(trials: Sequence[TrialRecord]) -> list[int]:
    """Trial numbers, best first.

    Complete trials come before pruned ones. Among each, the higher predicted test score is better; on a tie the
    narrower interval of the gap, then the lower number. Trials without a prediction follow those with one, by training
    score. Failed and running trials, and pruned ones without a prediction, are left out. Audited scores are not read.
    """
    ranked = [
        trial
        for trial in trials
        if trial.state == "COMPLETE" or (trial.state == "PRUNED" and trial.prediction is not None)
    ]
    return [trial.number for trial in sorted(ranked, key=_sort_key)]


def _sort_key(trial: TrialRecord) -> tuple[int, bool, float, float, int]:
    order = _RANKED_STATES.index(trial.state)
    if trial.prediction is not None:
        low, high = trial.prediction.predicted_test_gap_interval
        return order, False, -trial.prediction.predicted_test_score, high - low, trial.number
    # Trained but never measured: nothing better than the training score is known, and it may be missing too.
    score = float("-inf") if trial.measurement is None else trial.measurement.train_score
    return order, True, -score, 0.0, trial.number
