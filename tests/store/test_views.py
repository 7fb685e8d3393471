"""The SQL views: the same as the reader says, in both databases, and nothing of Optuna's is in their way."""

import optuna
import pytest
from recorded_study import record_study
from sqlalchemy import inspect, select, text

from flatselect.ranking import rank_trials
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.migrate import ensure_schema
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import find_study, list_studies
from flatselect.store.view_columns import CURVES, OPTUNA_TRIALS, PARAMS, RANKING, TRIALS


@pytest.fixture
def reader(database_url):
    record_study(database_url)
    reader = find_study(make_engine(database_url, create=False), "digits")
    yield reader
    reader.close()


def read(reader, statement):
    with open_transaction(reader.engine) as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]


def test_trials_are_those_of_the_reader(reader):
    rows = read(reader, select(TRIALS).order_by(TRIALS.c.number))
    trials = reader.trials(include_audits=True)
    assert [row["number"] for row in rows] == [trial.number for trial in trials] == list(range(9))
    for row, trial in zip(rows, trials, strict=True):
        for name, expected in trial.to_json().items():
            if name.endswith("_interval"):
                found = [row[name.replace("interval", end)] for end in ("low", "high")]
                assert found == (expected or [None, None])
            elif (trial.number, name) == (7, "failure"):
                assert row[name] == "ModelError: cannot be built", "it was never started"
            else:
                assert row[name] == expected, (trial.number, name)
    assert rows[5]["pruned_because"] == "its upper bound 0.4 falls short of 0.8"
    assert rows[0]["test_gap"] == pytest.approx(0.52 - 0.4)


def test_curves_are_those_of_the_reader(reader):
    rows = read(reader, select(CURVES).order_by(CURVES.c.trial, CURVES.c.epoch))
    curves, predictions = reader.measurements(), reader.latest_predictions()
    assert [(row["trial"], row["epoch"]) for row in rows] == [(n, m.epoch) for n in curves for m in curves[n]]
    for row in rows:
        measured = curves[row["trial"]][row["epoch"] - 1]
        assert row.items() >= measured.to_dict().items()
        assert row["test_gap"] == measured.test_gap
        predicted = predictions.get((row["trial"], row["epoch"]))
        assert row["predicted_test_score"] == (predicted and predicted.predicted_test_score)


def test_ranking_is_that_of_the_search(reader):
    rows = read(reader, select(RANKING).order_by(RANKING.c.rank))
    assert [row["number"] for row in rows] == rank_trials(reader.trials(include_audits=False))
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert 2 not in {row["number"] for row in rows}, "3 trained it again"


def test_every_declared_column_is_there_in_its_order(reader):
    for view in (TRIALS, CURVES, RANKING, PARAMS, OPTUNA_TRIALS):
        found = [column["name"] for column in inspect(reader.engine).get_columns(view.name)]
        assert found == [column.name for column in view.c]


def test_a_copy_a_deletion_and_an_upgrade_of_optunas_go_on(database_url, reader):
    storage = make_optuna_storage(database_url)
    before = read(reader, select(TRIALS.c.trial_id).order_by(TRIALS.c.number))
    optuna.copy_study(from_study_name="digits", from_storage=storage, to_storage=storage, to_study_name="copy")
    storage.upgrade()
    assert read(reader, select(TRIALS.c.trial_id).order_by(TRIALS.c.number)) == before
    assert len(reader.trials(include_audits=False)) == 9
    optuna.delete_study(study_name="copy", storage=storage)
    assert len(read(reader, select(TRIALS.c.number))) == 9
    optuna.delete_study(study_name="digits", storage=storage)
    assert read(reader, select(TRIALS.c.number)) == read(reader, select(CURVES.c.trial)) == []
    assert list_studies(reader.engine) == []
    storage.remove_session()
    storage.engine.dispose()


def test_optunas_columns_can_change_their_types(reader):
    """As a migration of a later Optuna may do, by its own means in each database."""
    views = [view.name for view in (RANKING, CURVES, TRIALS, PARAMS, OPTUNA_TRIALS)]
    with open_transaction(reader.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE trials ALTER COLUMN number TYPE bigint"))
            connection.execute(text("ALTER TABLE trial_params ALTER COLUMN param_name TYPE text"))
        else:  # a table that is rebuilt wants no view on it: docs/database.md
            for view in views:
                connection.execute(text(f"DROP VIEW {view}"))
    ensure_schema(reader.engine)
    assert set(views) <= set(inspect(reader.engine).get_view_names())
    assert len(read(reader, select(TRIALS.c.number))) == 9
