"""Our migrations beside Optuna's, in one database."""

import subprocess
import sys
from importlib.resources import files

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from flatselect.errors import StoreError
from flatselect.store import migrate
from flatselect.store.engine import open_transaction
from flatselect.store.migrate import HEAD_REVISION, ensure_schema, has_schema
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import StudyReader
from flatselect.store.study_writer import StudyWriter
from flatselect.store.tables import TABLE_PREFIX, Base


@pytest.fixture
def storage(database_url, engine):
    storage = make_optuna_storage(database_url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def _read_tables(engine):
    return {name for name in inspect(engine).get_table_names() if name.startswith(TABLE_PREFIX)}


def test_migrated_database_is_what_the_tables_say(engine):
    assert not has_schema(engine)
    ensure_schema(engine)
    assert has_schema(engine)
    assert _read_tables(engine) == {*Base.metadata.tables, "flatselect_alembic_version"}
    with engine.connect() as connection:
        options = {"version_table": "flatselect_alembic_version", "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_head_revision_is_the_last_file(engine):
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(migrate._make_config(connection))
    assert scripts.get_current_head() == HEAD_REVISION
    assert files("flatselect.store").joinpath("migrations/script.py.mako").is_file()


def test_ensure_schema_is_idempotent(engine):
    ensure_schema(engine)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO flatselect_studies VALUES ('u', 'name', '2026-01-01 00:00:00', '{}', '{}')")
        )
    ensure_schema(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM flatselect_studies")).scalar() == 1


@pytest.mark.parametrize("first", ["optuna", "flatselect"])
def test_optuna_goes_on_working_in_the_same_database(database_url, engine, first):
    if first == "flatselect":
        ensure_schema(engine)
    storage = make_optuna_storage(database_url)
    optuna.create_study(storage=storage, study_name="kept").add_trial(
        optuna.trial.create_trial(
            params={"x": 1.0}, distributions={"x": optuna.distributions.FloatDistribution(0, 2)}, value=3.0
        )
    )
    optuna.create_study(storage=storage, study_name="deleted")
    ensure_schema(engine)
    storage.upgrade()
    storage.remove_session()
    storage.engine.dispose()

    storage = make_optuna_storage(database_url)  # checks that the tables are of Optuna's version
    assert optuna.load_study(storage=storage, study_name="kept").best_value == 3.0
    optuna.delete_study(storage=storage, study_name="deleted")
    assert optuna.get_all_study_names(storage) == ["kept"]
    assert _read_tables(engine) == {*Base.metadata.tables, "flatselect_alembic_version"}
    storage.remove_session()
    storage.engine.dispose()


def test_a_database_of_the_first_version_keeps_its_audits(engine):
    with open_transaction(engine) as connection:
        command.upgrade(migrate._make_config(connection), "0001")
        connection.execute(
            text("INSERT INTO flatselect_studies VALUES ('u', 'name', '2026-01-01 00:00:00', '{}', '{}')")
        )
        connection.execute(text("INSERT INTO flatselect_audits VALUES ('u', 3, 0.9, 0.3, 100, '2026-01-01 00:00:00')"))
    ensure_schema(engine)
    reader = StudyReader(engine, "u")
    assert reader.audits() == {3: 0.9}
    assert reader.audited_on("any images") == set()  # which ones they were is not known: they are audited again
    StudyWriter(engine, "u").add_audit(3, 0.8, None, 50, "any images")
    assert (reader.audits(), reader.audited_on("any images"), reader.audited_on("others")) == ({3: 0.8}, {3}, set())


def test_downgrade_takes_only_our_tables(engine, storage):
    ensure_schema(engine)
    others = set(inspect(engine).get_table_names()) - _read_tables(engine)
    with open_transaction(engine) as connection:
        command.downgrade(migrate._make_config(connection), "base")
    assert set(inspect(engine).get_table_names()) == {*others, "flatselect_alembic_version"}
    ensure_schema(engine)
    assert _read_tables(engine) == {*Base.metadata.tables, "flatselect_alembic_version"}


def test_database_of_a_newer_version_is_refused_and_left_alone(engine):
    ensure_schema(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE flatselect_alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"made by a newer flatselect.*9999.*pip install -U flatselect"):
        ensure_schema(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM flatselect_alembic_version")).scalar() == "9999"


def test_two_processes_may_migrate_at_once(database_url, engine):
    script = (
        "import sys\n"
        "from flatselect.store.engine import make_engine\n"
        "from flatselect.store.migrate import ensure_schema\n"
        "engine = make_engine(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "ensure_schema(engine)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 2
    assert _read_tables(engine) == {*Base.metadata.tables, "flatselect_alembic_version"}
