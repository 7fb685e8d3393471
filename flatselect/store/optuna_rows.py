"""Optuna's tables, and the statements by which a driver reads and writes them.

They are those of `RDBStorage`, without its objects. Its schema is what Optuna itself checks when it opens a database.
"""

from datetime import UTC, datetime
from functools import cache
from json import dumps
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from flatselect.store.upserts import make_upsert

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
TRIALS: Any = models.TrialModel.__table__
PARAMS: Any = models.TrialParamModel.__table__
VALUES: Any = models.TrialValueModel.__table__
REPORTS: Any = models.TrialIntermediateValueModel.__table__
USER_ATTRIBUTES: Any = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: Any = models.TrialSystemAttributeModel.__table__
STUDY_ATTRIBUTES: Any = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM_ATTRIBUTES: Any = models.StudySystemAttributeModel.__table__
# Which column says, beside the trial's id, what a row is of.
KEYS: dict[Table, str] = {
    PARAMS: "param_name",
    VALUES: "objective",
    REPORTS: "step",
    USER_ATTRIBUTES: "key",
    SYSTEM_ATTRIBUTES: "key",
}
# Built once: building a statement takes longer than running it.
_IDS: Any = bindparam("ids", expanding=True)
SELECT_FINISHED = select(TRIALS.c.trial_id).where(TRIALS.c.trial_id.in_(_IDS), TRIALS.c.state.not_in(UNFINISHED))
SELECT_STUDY = select(TRIALS.c.study_id).where(TRIALS.c.trial_id == bindparam("id"))
SELECT_STATE = select(TRIALS.c.state).where(TRIALS.c.trial_id == bindparam("id"))
UPDATE_STATE = (
    update(TRIALS)
    .where(TRIALS.c.trial_id == bindparam("id"), TRIALS.c.state.in_(UNFINISHED))
    .values(state=bindparam("new_state"), datetime_complete=bindparam("completed"))
)
SELECT_NEWS = select(TRIALS.c.trial_id, TRIALS.c.state).where(
    TRIALS.c.study_id == bindparam("study_id"), (TRIALS.c.trial_id > bindparam("last")) | TRIALS.c.trial_id.in_(_IDS)
)
_SELECT_ASKED = select(TRIALS.c.trial_id, TRIALS.c.number).where(
    TRIALS.c.study_id == bindparam("study_id"),
    TRIALS.c.trial_id == USER_ATTRIBUTES.c.trial_id,
    USER_ATTRIBUTES.c.key == bindparam("key"),
    USER_ATTRIBUTES.c.value_json == bindparam("value_json"),
)
_STUDIES: Any = models.StudyModel.__table__
_LOCK_STUDY = select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == bindparam("study_id")).with_for_update()
_INSERT_TRIAL = insert(TRIALS)
_COUNT_EARLIER = select(func.count()).where(
    TRIALS.c.study_id == bindparam("study_id"), TRIALS.c.trial_id < bindparam("id")
)
_UPDATE_NUMBER = update(TRIALS).where(TRIALS.c.trial_id == bindparam("id")).values(number=bindparam("new_number"))


@cache
def make_row_upsert(table: Table, dialect: str) -> Any:
    """A statement that writes rows of one of `KEYS`, in place of those of the same trial and key."""
    key = ("trial_id", KEYS[table])
    own = {column.name for column in table.primary_key}
    return make_upsert(table, dialect, key, tuple(c.name for c in table.columns if c.name not in {*key, *own}))


def convert_time(local: datetime) -> datetime:
    """From what Optuna's trials have to what its tables hold: UTC, both without a zone."""
    return local.astimezone(UTC).replace(tzinfo=None)


def insert_trial(connection: Connection, study_id: int, started: datetime, mark: tuple[str, str]) -> tuple[int, int]:
    """Enters a trial that runs from now on, with a user attribute that marks it; returns its id and its number."""
    # The study's row is locked, as by Optuna: a trial's number is the count of those before it.
    connection.execute(_LOCK_STUDY, {"study_id": study_id})
    values = {"study_id": study_id, "state": TrialState.RUNNING, "datetime_start": convert_time(started)}
    trial_id = int(connection.execute(_INSERT_TRIAL, values).inserted_primary_key[0])  # type: ignore[index]
    number = int(connection.execute(_COUNT_EARLIER, {"study_id": study_id, "id": trial_id}).scalar_one())
    connection.execute(_UPDATE_NUMBER, {"id": trial_id, "new_number": number})
    attribute = {"trial_id": trial_id, "key": mark[0], "value_json": dumps(mark[1])}
    connection.execute(make_row_upsert(USER_ATTRIBUTES, connection.dialect.name), attribute)
    return trial_id, number


def find_marked_trial(connection: Connection, study_id: int, mark: tuple[str, str]) -> tuple[int, int] | None:
    """Id and number of the trial that `insert_trial` entered with this mark, None if it did not."""
    wanted = {"study_id": study_id, "key": mark[0], "value_json": dumps(mark[1])}
    row = connection.execute(_SELECT_ASKED, wanted).first()
    return None if row is None else (row.trial_id, row.number)
