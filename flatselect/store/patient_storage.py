"""Optuna's storage, made to wait out a database that does not answer."""

import functools
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from flatselect.store.patience import Patience, Result

ASKED_ATTRIBUTE = "flatselect:asked_by"


class PatientStorage(RDBStorage):
    """Optuna's storage, which waits out a database that does not answer.

    What Optuna calls is repeated whole. Setting a parameter, a report, an attribute or a state twice comes to the same;
    a new trial does not, so it carries from its first moment who asked for it: one whose answer was lost is found again
    and not made twice, and one whose asker died is known as that one's.

    Attributes:
        patience: How long it waits.
        run_uid: Who asks for trials; None if that is not to be remembered.
    """

    def __init__(self, url: str, *, patience: Patience, **options: Any) -> None:
        self.patience = patience
        self.run_uid: str | None = None
        super().__init__(url, **options)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is not None or self.run_uid is None:
            return self._repeat(lambda: super(PatientStorage, self)._create_new_trial(study_id, template_trial))
        asked = f"{self.run_uid}/{uuid.uuid4().hex}"
        template = _make_empty_trial({ASKED_ATTRIBUTE: asked})
        is_repeated = False

        def create() -> FrozenTrial:
            nonlocal is_repeated
            if is_repeated and (made := self._find_asked(study_id, asked)):
                return made
            is_repeated = True
            return super(PatientStorage, self)._create_new_trial(study_id, template)

        return self._repeat(create)

    def _find_asked(self, study_id: int, asked: str) -> FrozenTrial | None:
        trials = super().get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return next((trial for trial in trials if trial.user_attrs.get(ASKED_ATTRIBUTE) == asked), None)

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


# What Optuna's studies and its cache of trials call, but for the two that need more than a repetition.
for _name in (
    "create_new_study", "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_all_studies",
    "get_study_user_attrs", "get_study_system_attrs", "set_study_user_attr", "set_study_system_attr",
    "get_trial", "get_all_trials", "_get_trials", "get_trial_id_from_study_id_trial_number", "_get_best_trial_id",
    "get_trial_param", "set_trial_param", "_set_trial_param", "set_trial_intermediate_value",
    "get_trial_user_attrs", "get_trial_system_attrs", "set_trial_user_attr", "set_trial_system_attr",
):  # fmt: skip
    setattr(PatientStorage, _name, _make_patient(_name))


def find_cause(error: Exception) -> Exception | None:
    """The database's own error in one that Optuna raised."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return cause if isinstance(cause, DBAPIError) else None


def _make_empty_trial(user_attrs: dict[str, Any]) -> FrozenTrial:
    """A trial as Optuna makes one that is asked for, with attributes."""
    return FrozenTrial(
        number=-1,  # given by the database
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs=user_attrs,
        system_attrs={},
        intermediate_values={},
    )
