"""Optuna's storage as a driver uses it: what it has written it need not read, and a step is one transaction.

`RDBStorage` reads and writes through SQLAlchemy's objects, one transaction a value: a trial of ten epochs took 190 ms
of a driver's time. Here trials are kept in memory, and what is set of a running one waits until `flush`.
"""

import time
import uuid
from collections.abc import Callable, Container, Sequence
from copy import copy, deepcopy
from datetime import datetime
from json import dumps
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Executable, Table

from flatselect.store import optuna_rows
from flatselect.store.known_trials import KnownTrials
from flatselect.store.optuna_storage import close_optuna_storage
from flatselect.store.patience import Result
from flatselect.store.patient_storage import PatientStorage, find_cause
from flatselect.store.upserts import GatheredRows

ASKED_ATTRIBUTE = "flatselect:asked_by"
_LOOK_SECONDS = 1.0


class DriverStorage(BaseStorage):
    """Optuna's storage over a database where what a running trial is given comes from the process that runs it alone.

    What is set of a trial (parameters, attributes, reports) is kept until `flush`, or until a trial begins or ends:
    a driver calls it before it asks a worker to go on. A process that dies in between has not asked, and its successor
    reports again what the database lacks. What other processes do is looked for in every `get_all_trials`: trials that
    they added or ended, and where running ones are asked for, what they have set of theirs. Any process may end any
    trial: whoever writes to it, or ends it a second time, finds out.

    A trial carries from its first moment who asked for it: one whose answer was lost is found again and not made twice,
    and one whose asker died is known as that one's.

    Attributes:
        backend: Optuna's storage on the same database.
        run_uid: Who asks for trials; None if that is not to be remembered.
    """

    def __init__(self, backend: PatientStorage) -> None:
        self.backend = backend
        self.run_uid: str | None = None
        self._studies: dict[int, KnownTrials] = {}
        self._study_of: dict[int, int] = {}  # by trial's id
        self._pending: dict[Table, dict[tuple[int, str | int], dict[str, Any]]] = {
            table: {} for table in optuna_rows.KEYS
        }

    def flush(self, also: Sequence[GatheredRows] = ()) -> None:
        """Writes what was set and what is given, all of it or nothing; what could not be written is kept.

        Of a trial that another process has ended meanwhile nothing is written: it is known to be finished from then on.

        Raises:
            DBAPIError: The database cannot do it.
        """

        def write(connection: Connection) -> list[int]:
            trial_ids = {trial_id for rows in self._pending.values() for trial_id, _ in rows}
            ended = list(connection.scalars(optuna_rows.SELECT_FINISHED, {"ids": list(trial_ids)})) if trial_ids else []
            for statement, values in also:
                connection.execute(statement, values)
            self._write_rows(connection, ended)
            return ended

        if also or any(self._pending.values()):
            ended = self._transact(write)
            self._clear()
            for trial_id in ended:
                self._put(self._study_of[trial_id], self.backend.get_trial(trial_id))

    def check_is_running(self, trial_id: int) -> None:
        """Nothing, if a trial may go on, as far as is known since it was last written to.

        Raises:
            UpdateFinishedTrialError: Another process has ended it.
        """
        self.check_trial_is_updatable(trial_id, self._studies[self._find_study(trial_id)].by_id[trial_id].state)

    def _write_rows(self, connection: Connection, but_of: Container[int] = ()) -> None:
        for table, rows in self._pending.items():
            if values := [row for key, row in rows.items() if key[0] not in but_of]:
                connection.execute(optuna_rows.make_row_upsert(table, connection.dialect.name), values)

    def _clear(self) -> None:
        for rows in self._pending.values():
            rows.clear()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.flush()
        if template_trial is None and self.run_uid is not None:
            trial = self._ask(study_id, (ASKED_ATTRIBUTE, f"{self.run_uid}/{uuid.uuid4().hex}"))
        else:
            trial = self.backend._create_new_trial(study_id, template_trial)
        self._put(study_id, trial)
        if trial.state == TrialState.WAITING:
            self._studies[study_id].foreign.add(trial._trial_id)
        return trial._trial_id

    def _ask(self, study_id: int, mark: tuple[str, str]) -> FrozenTrial:
        started = datetime.now()  # Optuna's clock
        is_repeated = False

        def ask(connection: Connection) -> tuple[int, int]:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            made = optuna_rows.find_marked_trial(connection, study_id, mark) if was_repeated else None
            return made or optuna_rows.insert_trial(connection, study_id, started, mark)

        trial_id, number = self._transact(ask)
        return FrozenTrial(
            number=number,
            trial_id=trial_id,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=started,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs=dict([mark]),
            system_attrs={},
            intermediate_values={},
        )

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial, known = self._own(trial_id)
        if (before := known.distributions.setdefault(param_name, distribution)) is not distribution:
            check_distribution_compatibility(before, distribution)
        trial.params = trial.params | {param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = trial.distributions | {param_name: distribution}
        value = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
        self._add(optuna_rows.PARAMS, trial_id, param_name, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        trial, _ = self._own(trial_id)
        trial.intermediate_values = trial.intermediate_values | {step: intermediate_value}
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(intermediate_value)
        self._add(optuna_rows.REPORTS, trial_id, step, {"intermediate_value": stored, "intermediate_value_type": kind})

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, _ = self._own(trial_id)
        self._add(optuna_rows.USER_ATTRIBUTES, trial_id, key, {"value_json": dumps(value)})
        trial.user_attrs = trial.user_attrs | {key: value}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, _ = self._own(trial_id)
        self._add(optuna_rows.SYSTEM_ATTRIBUTES, trial_id, key, {"value_json": dumps(value)})
        trial.system_attrs = trial.system_attrs | {key: value}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        study_id = self._find_study(trial_id)
        known = self._studies[study_id]
        if state.is_finished() and trial_id not in known.foreign:
            self._put(study_id, self._end(known.by_id[trial_id], state, values))
            return True
        self.flush()
        is_set = self.backend.set_trial_state_values(trial_id, state, values)
        self._put(study_id, self.backend.get_trial(trial_id))
        if is_set:
            known.foreign.discard(trial_id)
        return is_set

    def _end(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
        """Ends a trial of this process, with what waits to be written of it, in one transaction."""
        ended = copy(trial)
        ended.state, ended.datetime_complete = state, (completed := datetime.now())  # Optuna's clock
        if values is not None:
            ended.values = list(values)
            for objective, value in enumerate(values):
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                self._add(optuna_rows.VALUES, trial._trial_id, objective, {"value": stored, "value_type": kind})
        is_repeated = False

        def write(connection: Connection) -> None:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            change = {"id": trial._trial_id, "new_state": state, "completed": optuna_rows.convert_time(completed)}
            if not connection.execute(optuna_rows.UPDATE_STATE, change).rowcount and not (
                # The first try ended the trial, and only its answer was lost.
                was_repeated and connection.scalar(optuna_rows.SELECT_STATE, {"id": trial._trial_id}) == state
            ):
                self._forget(trial._trial_id)
                raise UpdateFinishedTrialError(f"another process has ended trial {trial.number}")
            self._write_rows(connection)

        self._transact(write)
        self._clear()
        return ended

    def get_trial(self, trial_id: int) -> FrozenTrial:
        study_id = self._find_study(trial_id)
        trial = self._studies[study_id].by_id[trial_id]
        if trial.state.is_finished():
            return trial
        if trial_id in self._studies[study_id].foreign:
            self._put(study_id, trial := self.backend.get_trial(trial_id))
        # A handle of the trial adds to what it was given.
        found = copy(trial)
        found.params, found.distributions = dict(trial.params), dict(trial.distributions)
        found.user_attrs, found.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
        found.intermediate_values = dict(trial.intermediate_values)
        return found

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        known = self._studies.get(study_id)
        if known is None or trial_number not in known.id_by_number:
            known = self._look(study_id, tuple(TrialState))
        return known.id_by_number[trial_number]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        known = self._look(study_id, states or tuple(TrialState))
        chosen = [known.by_state[state] for state in TrialState if states is None or state in states]
        trials = list(chosen[0]) if len(chosen) == 1 else sorted((t for of in chosen for t in of), key=_read_number)
        return _copy_deeply(trials) if deepcopy else trials

    def close(self) -> None:
        """Closes the connections; what waits to be written is given up, as after a crash."""
        close_optuna_storage(self.backend)

    def remove_session(self) -> None:
        self.backend.remove_session()

    def _look(self, study_id: int, states: Container[TrialState]) -> KnownTrials:
        """Finds what other processes have done to trials in these states.

        Finished ones alone are asked for after every epoch: of those a second's delay does no harm.
        """
        known = self._studies.get(study_id)
        if known is None:
            known = self._studies[study_id] = KnownTrials()
            for trial in self.backend.get_all_trials(study_id, deepcopy=False):
                self._put_foreign(study_id, trial)
                known.last_id = max(known.last_id, trial._trial_id)
        elif (
            any(state in states for state in optuna_rows.UNFINISHED)
            or time.monotonic() - known.looked_at > _LOOK_SECONDS
        ):
            unfinished = [trial._trial_id for state in optuna_rows.UNFINISHED for trial in known.by_state[state]]
            for trial_id, state in self._read(
                optuna_rows.SELECT_NEWS, study_id=study_id, last=known.last_id, ids=unfinished
            ):
                known.last_id = max(known.last_id, trial_id)
                if trial_id not in known.by_id or state != known.by_id[trial_id].state:
                    self._put_foreign(study_id, self.backend.get_trial(trial_id))
            if TrialState.RUNNING in states and known.foreign.intersection(unfinished):
                for trial in self.backend.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
                    if trial._trial_id in known.foreign:
                        self._put_foreign(study_id, trial)
        else:
            return known
        known.looked_at = time.monotonic()
        return known

    def _read(self, statement: Executable, **values: Any) -> Sequence[Any]:
        return self._transact(lambda connection: connection.execute(statement, values).all())

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        """Like `run_transaction`, but raises what Optuna raises: `translate_optuna_errors` knows what to say of it."""

        def run() -> Result:
            with self.backend.engine.begin() as connection:
                return work(connection)

        return self.backend.patience.call(run, find_cause)

    def _put_foreign(self, study_id: int, trial: FrozenTrial) -> None:
        self._put(study_id, trial)
        if not trial.state.is_finished():
            self._studies[study_id].foreign.add(trial._trial_id)

    def _put(self, study_id: int, trial: FrozenTrial) -> None:
        self._studies.setdefault(study_id, KnownTrials()).put(trial)
        self._study_of[trial._trial_id] = study_id

    def _own(self, trial_id: int) -> tuple[FrozenTrial, KnownTrials]:
        """A trial that this process is about to write to."""
        known = self._studies[self._find_study(trial_id)]
        trial = known.by_id[trial_id]
        self.check_trial_is_updatable(trial_id, trial.state)
        known.foreign.discard(trial_id)
        return trial, known

    def _find_study(self, trial_id: int) -> int:
        """Raises KeyError for a trial that there is not, as Optuna does."""
        if trial_id not in self._study_of:
            for row in self._read(optuna_rows.SELECT_STUDY, id=trial_id):
                self._look(row.study_id, tuple(TrialState))
        return self._study_of[trial_id]

    def _add(self, table: Table, trial_id: int, key: str | int, values: dict[str, Any]) -> None:
        self._pending[table][trial_id, key] = {"trial_id": trial_id, optuna_rows.KEYS[table]: key, **values}

    def _forget(self, trial_id: int) -> None:
        """Nothing of this trial is to be written any more."""
        for table, rows in self._pending.items():
            self._pending[table] = {key: row for key, row in rows.items() if key[0] != trial_id}

    # What a study is, the database knows: a driver asks once.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self.backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self._studies.pop(study_id, None)
        self.backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.backend.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self.backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self.backend.get_all_studies()


def _read_number(trial: FrozenTrial) -> int:
    return trial.number


_copy_deeply = deepcopy  # `get_all_trials` has an argument of that name
