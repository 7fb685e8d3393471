"""Optuna's trials as a reader needs them, from Optuna's tables.

`RDBStorage` makes an object of every row, reports and attributes too: 10,000 trials took it ten seconds.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from json import loads
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from sqlalchemy import Connection, bindparam, func, select

from flatselect.store.optuna_rows import PARAMS, STUDY_ATTRIBUTES, SYSTEM_ATTRIBUTES, TRIALS, USER_ATTRIBUTES

UID_ATTRIBUTE = "flatselect:uid"
FAILURE_ATTRIBUTE = "flatselect:failure"
RETRAINS_ATTRIBUTE = "flatselect:retrains"
RETRIES_ATTRIBUTE = "flatselect:retries"
_QUEUED_ATTRIBUTE = "fixed_params"  # Optuna's own


@dataclass(frozen=True)
class OptunaTrial:
    """What Optuna holds of a trial.

    Attributes:
        trial_id: Optuna's own.
        state: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        started_at: UTC, without a zone; None while it waits.
        ended_at: Alike; None while it has not ended.
        params: Those that were suggested, in that order.
        queued_params: Those that it was queued with.
        failure: Why it failed, where it was never started.
        retrains: The trial whose candidate it trains again, as one of the best.
        retries: The failed trial whose candidate it tries again.
    """

    number: int
    trial_id: int
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    params: dict[str, Any]
    queued_params: dict[str, Any]
    failure: str | None
    retrains: int | None
    retries: int | None


_OF_STUDY = TRIALS.c.study_id == bindparam("study_id")
_SELECT_UIDS = (
    select(STUDY_ATTRIBUTES.c.study_id, STUDY_ATTRIBUTES.c.value_json)
    .where(STUDY_ATTRIBUTES.c.key == UID_ATTRIBUTE)
    .order_by(STUDY_ATTRIBUTES.c.study_id.desc())
)
_COUNT_TRIALS = select(TRIALS.c.study_id, func.count().label("n")).group_by(TRIALS.c.study_id)
_SELECT_TRIALS = (
    select(TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.datetime_start, TRIALS.c.datetime_complete)
    .where(_OF_STUDY)
    .order_by(TRIALS.c.number)
)
_SELECT_PARAMS = (
    select(PARAMS.c.trial_id, PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json)
    .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
    .where(_OF_STUDY)
    .order_by(PARAMS.c.param_id)
)
_SELECT_DISTRIBUTIONS = (
    select(PARAMS.c.param_name, PARAMS.c.distribution_json)
    .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
    .where(_OF_STUDY)
    .group_by(PARAMS.c.param_name, PARAMS.c.distribution_json)
    .order_by(func.min(PARAMS.c.param_id))
)
_SELECT_ATTRIBUTES = tuple(
    select(table.c.trial_id, table.c.key, table.c.value_json)
    .join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
    .where(_OF_STUDY, table.c.key.in_(keys))
    for table, keys in (
        (USER_ATTRIBUTES, (FAILURE_ATTRIBUTE, RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE)),
        (SYSTEM_ATTRIBUTES, (_QUEUED_ATTRIBUTE,)),
    )
)


def read_study_ids(connection: Connection) -> dict[str, int]:
    """Optuna's numbers of our studies, by uid; of a study and its copies, which have its uid too, the first."""
    return {loads(row.value_json): row.study_id for row in connection.execute(_SELECT_UIDS)}


def count_trials(connection: Connection) -> dict[int, int]:
    """The number of trials of every study that has any, by Optuna's number of the study."""
    return {row.study_id: row.n for row in connection.execute(_COUNT_TRIALS)}


def read_trials(connection: Connection, study_id: int) -> list[OptunaTrial]:
    """Every trial of a study, by number."""
    of_study = {"study_id": study_id}
    # Before their parameters: what ends a trial has written these.
    rows = connection.execute(_SELECT_TRIALS, of_study).all()
    params: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, name, value, distribution in connection.execute(_SELECT_PARAMS, of_study):
        params[trial_id][name] = _read_distribution(distribution).to_external_repr(value)
    attributes: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for statement in _SELECT_ATTRIBUTES:
        for trial_id, key, value in connection.execute(statement, of_study):
            attributes[trial_id][key] = loads(value)
    return [
        OptunaTrial(
            number=row.number,
            trial_id=row.trial_id,
            state=row.state.name,
            started_at=row.datetime_start,
            ended_at=row.datetime_complete,
            params=params.get(row.trial_id, {}),
            queued_params=(own := attributes.get(row.trial_id, {})).get(_QUEUED_ATTRIBUTE, {}),
            failure=own.get(FAILURE_ATTRIBUTE),
            retrains=own.get(RETRAINS_ATTRIBUTE),
            retries=own.get(RETRIES_ATTRIBUTE),
        )
        for row in rows
    ]


def read_distributions(connection: Connection, study_id: int) -> dict[str, BaseDistribution]:
    """What each parameter is drawn from, by name, in the order in which they were first drawn."""
    rows = connection.execute(_SELECT_DISTRIBUTIONS, {"study_id": study_id})
    return {row.param_name: _read_distribution(row.distribution_json) for row in rows}


@lru_cache(maxsize=1000)
def _read_distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
