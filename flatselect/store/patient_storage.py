"""Optuna's storage, made to wait out a database that does not answer."""

import functools
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError

from flatselect.store.patience import Patience, Result


class PatientStorage(RDBStorage):
    """Optuna's storage, which waits out a database that does not answer.

    What Optuna calls is repeated whole. Setting a parameter, a report, an attribute or a state twice comes to the same.
    A new trial does not: one whose answer was lost is made twice, which is why a driver asks through `DriverStorage`.

    Attributes:
        patience: How long it waits.
    """

    def __init__(self, url: str, *, patience: Patience, **options: Any) -> None:
        self.patience = patience
        super().__init__(url, **options)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        is_repeated = False

        def set_values() -> bool:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            try:
                return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if was_repeated and super(PatientStorage, self).get_trial(trial_id).state == state:
                    return True  # the first try ended the trial, and only its answer was lost
                raise

        return self._repeat(set_values)

    def _repeat(self, work: Callable[[], Result]) -> Result:
        return self.patience.call(work, find_cause)


def _make_patient(name: str) -> Callable[..., Any]:
    inherited = getattr(RDBStorage, name)

    @functools.wraps(inherited)
    def method(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self._repeat(lambda: inherited(self, *arguments, **options))

    return method


# What Optuna's studies and its cache of trials call, but for the one that needs more than a repetition.
for _name in (
    "create_new_study", "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_all_studies",
    "get_study_user_attrs", "get_study_system_attrs", "set_study_user_attr", "set_study_system_attr",
    "get_trial", "get_all_trials", "_get_trials", "get_trial_id_from_study_id_trial_number", "_get_best_trial_id",
    "_create_new_trial", "get_trial_param", "set_trial_param", "_set_trial_param", "set_trial_intermediate_value",
    "get_trial_user_attrs", "get_trial_system_attrs", "set_trial_user_attr", "set_trial_system_attr",
):  # fmt: skip
    setattr(PatientStorage, _name, _make_patient(_name))


def find_cause(error: Exception) -> Exception | None:
    """The database's own error in one that Optuna raised."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return cause if isinstance(cause, DBAPIError) else None
