"""Failed trials tried again because a user asks for it: as trials of their own, since a failed one cannot change."""

from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from flatselect.errors import SearchError
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE


def find_retries(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The trial that tries another one again, by the number of that other one."""
    return {trial.user_attrs[RETRIES_ATTRIBUTE]: trial for trial in trials if RETRIES_ATTRIBUTE in trial.user_attrs}


def find_failed(study: optuna.Study) -> list[int]:
    """The failed trials that nobody has asked to be tried again, by number."""
    trials = study.get_trials(deepcopy=False)
    retries = find_retries(trials)
    return [trial.number for trial in trials if trial.state == TrialState.FAIL and trial.number not in retries]


def has_waiting_retry(study: optuna.Study) -> bool:
    """Whether a trial is to be tried again that no search has taken up yet."""
    return any(
        RETRIES_ATTRIBUTE in trial.user_attrs
        for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    )


def enqueue_retries(study: optuna.Study, numbers: Sequence[int]) -> dict[int, int]:
    """Makes a waiting trial of each: the next ones that Optuna is asked for have their parameters.

    Each failed trial is tried again once; what failed again is tried again by the new trial's number.

    Args:
        study: Of these trials.
        numbers: Of failed trials.

    Returns:
        The new trial's number, by the failed one's.

    Raises:
        SearchError: One of them cannot be tried again; then none is.
    """
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    retries = find_retries(list(trials.values()))
    numbers = list(dict.fromkeys(numbers))
    refusals = [reason for number in numbers if (reason := _why_not(number, trials, retries)) is not None]
    if refusals:
        raise SearchError("\n".join(refusals) + ("\nnone was queued" if len(numbers) > 1 else ""))
    for number in numbers:
        attributes = {RETRIES_ATTRIBUTE: number}
        if (retrains := trials[number].user_attrs.get(RETRAINS_ATTRIBUTE)) is not None:
            attributes[RETRAINS_ATTRIBUTE] = retrains
        study.enqueue_trial(trials[number].params, user_attrs=attributes)
    queued = find_retries(study.get_trials(deepcopy=False))
    return {number: queued[number].number for number in numbers}


def _why_not(number: int, trials: Mapping[int, FrozenTrial], retries: Mapping[int, FrozenTrial]) -> str | None:
    if number not in trials:
        numbers = f"0 to {max(trials)}" if trials else "none"
        return f"trial {number}: there is no such trial (there is {numbers})"
    if (retry := retries.get(number)) is not None:
        again = f"trial {number}: is tried again already, as trial {retry.number}"
        match retry.state:
            case TrialState.FAIL:
                return f"{again}, which failed too; give that number: retry {retry.number}"
            case TrialState.WAITING:
                return f"{again}, which waits for `flatselect search`"
            case state:
                return f"{again}, which is {state.name}"
    match trials[number].state:
        case TrialState.FAIL:
            return None
        case TrialState.RUNNING:
            return (
                f"trial {number}: is RUNNING, and only failed trials are tried again; if nothing runs it, "
                "`flatselect search` goes on with it, or `fail --stale` ends it"
            )
        case TrialState.WAITING:
            return f"trial {number}: waits to be started; `flatselect search` does"
        case state:
            return f"trial {number}: is {state.name}; only failed trials are tried again"
