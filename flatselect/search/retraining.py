"""Training the best candidates again: on all labelled data, to the end."""

from collections.abc import Sequence

import optuna

from flatselect.ranking import rank_trials
from flatselect.records import TrialRecord
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE


def choose_retraining(trials: Sequence[TrialRecord], top: int) -> list[int]:
    """The numbers of the trials to train again, best first.

    Of the `top` best trials these are the ones whose network has not had all the labelled data (calibration trials) or
    all its epochs (pruned ones), and for which that was not tried already. The order is that of the search itself,
    before anything was trained again, so it does not change as retrained trials come in.
    """
    originals = [trial for trial in trials if trial.retrains is None]
    by_number = {trial.number: trial for trial in originals}
    again = {trial.retrains for trial in trials}
    return [
        number
        for number in rank_trials(originals)[:top]
        if (by_number[number].is_calibration or by_number[number].state == "PRUNED") and number not in again
    ]


def enqueue_retraining(study: optuna.Study, numbers: Sequence[int]) -> None:
    """Makes a waiting trial of each: the next ones that Optuna is asked for have their parameters."""
    trials = study.get_trials(deepcopy=False)
    waiting = {
        trial.user_attrs.get(RETRAINS_ATTRIBUTE) for trial in trials if trial.state == optuna.trial.TrialState.WAITING
    }
    for number in numbers:
        if number not in waiting:  # a run that died after this has left it waiting
            study.enqueue_trial(trials[number].params, user_attrs={RETRAINS_ATTRIBUTE: number})
