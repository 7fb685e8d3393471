"""A study of many trials in minutes: a short search writes some of them, and SQL copies these under new numbers.

Every row has the form in which the product writes it: the search is a real one, of trials that train nothing. A copy
has the parameters and the curve of its original, with all scores times a factor of its own.
"""

from collections.abc import Callable
from pathlib import Path

from noop_trials import make_study, noop_workers
from sqlalchemy import Column, ColumnElement, Connection, Engine, Integer, MetaData, Table, insert, literal, select

from flatselect.search.run import run_search
from flatselect.store.engine import make_engine, run_transaction
from flatselect.store.optuna_rows import PARAMS, REPORTS, SYSTEM_ATTRIBUTES, TRIALS, USER_ATTRIBUTES, VALUES
from flatselect.store.tables import Base, StudyRow

N_CALIBRATION = 8
N_SEARCHED = 32
"""Trials of the search; all but those that calibrate are copied."""

_BATCH = 250
_COPIES = Table(
    "large_study_copies",
    MetaData(),
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("original_id", Integer),
    Column("original", Integer),
    prefixes=["TEMPORARY"],
)
_FACTOR = 0.9 + (_COPIES.c.number * 7919 % 10007) / literal(100070.0)
_MEASURED = {"train_score", "holdout_score", "relative_gap_flatness", "hessian_trace"}
_PREDICTED = {"gap", "gap_low", "gap_high", "score", "score_low", "score_high"}
_SCORES = {
    "flatselect_measurements": _MEASURED,
    "flatselect_predictions": _PREDICTED,
    "flatselect_standings": _MEASURED | _PREDICTED,
    "flatselect_audits": {"score"},
    "trial_values": {"value"},
    "trial_intermediate_values": {"intermediate_value"},
}
_OPTUNAS = (PARAMS, VALUES, REPORTS, USER_ATTRIBUTES, SYSTEM_ATTRIBUTES)
_OURS = tuple(table for table in Base.metadata.sorted_tables if "trial_number" in table.columns)


def make_large_study(
    url: str, folder: Path, n_trials: int, n_epochs: int, show: Callable[[int], None] = lambda n_trials: None
) -> None:
    """Makes the study "noop" in an empty database.

    Args:
        url: The database.
        folder: For what else a search writes.
        n_trials: At least `N_SEARCHED`.
        n_epochs: Of each trial; each is measured, predicted and reported.
        show: Is told how many trials there are.
    """
    if n_trials < N_SEARCHED:
        raise ValueError(f"{n_trials} trials: expected {N_SEARCHED} at least")
    overrides = (
        *(f"study.storage={url}", f"study.trials={N_SEARCHED}", "study.sampler=random", f"training.epochs={n_epochs}"),
        *("data.audit=digits", "ray.backend=inline", "pruner.margin=1", f"calibration.trials={N_CALIBRATION}"),
    )
    with noop_workers():
        run_search(make_study(folder, *overrides))
    show(N_SEARCHED)
    engine = make_engine(url)
    for first in range(N_SEARCHED, n_trials, _BATCH):
        numbers = range(first, min(first + _BATCH, n_trials))
        run_transaction(engine, lambda connection, numbers=numbers: _copy_trials(connection, numbers))
        show(numbers.stop)
    _gather_statistics(engine)
    engine.dispose()


def _copy_trials(connection: Connection, numbers: range) -> None:
    rows = {row.number: row._mapping for row in connection.execute(select(TRIALS).where(TRIALS.c.number < N_SEARCHED))}
    original_of = {number: N_CALIBRATION + number % (N_SEARCHED - N_CALIBRATION) for number in numbers}
    columns = ("study_id", "state", "datetime_start", "datetime_complete")
    new = [{"number": number} | {name: rows[original_of[number]][name] for name in columns} for number in numbers]
    connection.execute(insert(TRIALS), new)
    made = connection.execute(select(TRIALS.c.trial_id, TRIALS.c.number).where(TRIALS.c.number.in_(numbers)))
    copies = [
        {
            "trial_id": row.trial_id,
            "number": row.number,
            "original_id": rows[original_of[row.number]]["trial_id"],
            "original": original_of[row.number],
        }
        for row in made
    ]
    _COPIES.create(connection)
    connection.execute(insert(_COPIES), copies)
    for table in _OPTUNAS:
        _copy_rows(connection, table, {"trial_id": _COPIES.c.trial_id}, table.c.trial_id == _COPIES.c.original_id)
    for table in _OURS:
        of_study = table.c.study_uid == select(StudyRow.uid).scalar_subquery()  # so that the key is found by its index
        is_original = of_study & (table.c.trial_number == _COPIES.c.original)
        _copy_rows(connection, table, {"trial_number": _COPIES.c.number}, is_original)
    _COPIES.drop(connection)


def _copy_rows(
    connection: Connection, table: Table, key: dict[str, Column[int]], is_original: ColumnElement[bool]
) -> None:
    own = {table.primary_key.columns[0].name} if table in _OPTUNAS else set()  # a number that the database gives
    scaled = _SCORES.get(table.name, set())
    columns = {c.name: c * _FACTOR if c.name in scaled else c for c in table.columns if c.name not in own} | key
    copied = select(*columns.values()).join_from(_COPIES, table, is_original).order_by(_COPIES.c.number)
    connection.execute(insert(table).from_select(list(columns), copied))


def _gather_statistics(engine: Engine) -> None:
    """What PostgreSQL does by itself a minute after rows were written."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
