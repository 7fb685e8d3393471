"""A database of every released version is opened by today's code, and says what it said then.

`released/` has of each version the dump of a small search's database and what that version's own `query` said of it.
Into PostgreSQL come the same rows, in tables that the migrations make up to that version.
"""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import MetaData, create_engine, delete, select, text

import flatselect
from flatselect.cli.main import cli
from flatselect.store import migrate
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.migrate import HEAD_REVISION, read_schema_version
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.read_only_sql import read_sql
from flatselect.store.standings import make_refresh
from flatselect.store.tables import StandingRow

RELEASED = Path(__file__).parent / "released"
VERSIONS = sorted(path.stem for path in RELEASED.glob("*.sql"))
# Pairs and dicts, which frames spread over columns, and times, which JSON has as texts.
SPREAD = {"params", "started_at", "ended_at", "predicted_test_gap_interval", "predicted_test_score_interval"}


def load_dump(version, path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"{version}.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


def copy_rows(version, source_url, url):
    """The rows of a SQLite database into PostgreSQL, where each database makes its tables by its own means."""
    close_optuna_storage(make_optuna_storage(url))
    source, target = create_engine(source_url), make_engine(url)
    with open_transaction(target) as connection:
        command.upgrade(migrate._make_config(connection), version)
    there, here = MetaData(), MetaData()
    there.reflect(source)
    here.reflect(target)
    with source.connect() as reading, open_transaction(target) as writing:
        for table in here.sorted_tables:
            writing.execute(text(f"TRUNCATE {table.name} CASCADE"))
        for table in here.sorted_tables:
            if rows := [dict(row._mapping) for row in reading.execute(there.tables[table.name].select())]:
                writing.execute(table.insert(), rows)
    source.dispose()
    target.dispose()
    return url


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def released_url(version, database_url, tmp_path):
    dumped = load_dump(version, tmp_path / "released.db")
    return dumped if database_url.startswith("sqlite") else copy_rows(version, dumped, database_url)


@pytest.fixture
def said(version):
    """What the `query` of that version said."""
    return json.loads((RELEASED / f"{version}.json").read_text(encoding="utf-8"))


def run(*words):
    done = CliRunner().invoke(cli, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_version_before_this_one_has_a_dump(sqlite_url):
    engine = make_engine(sqlite_url)
    with open_transaction(engine) as connection:
        script = ScriptDirectory.from_config(migrate._make_config(connection))
    engine.dispose()
    assert {revision.revision for revision in script.walk_revisions()} - {HEAD_REVISION} <= set(VERSIONS)


def test_query_says_what_it_said(released_url, version, said):
    engine = make_engine(released_url)
    assert read_schema_version(engine) == version
    assert {record["state"] for record in said} == {"COMPLETE", "PRUNED", "FAIL"}
    for option in (), ("--where", "number >= 0 and width > 0"):  # all trials at once, and by the views
        found = json.loads(run("query", "released", "--storage", released_url, "--json", *option))
        assert [{name: record[name] for name in old} for old, record in zip(said, found, strict=True)] == said
    assert read_schema_version(engine) == HEAD_REVISION
    engine.dispose()


def test_what_an_upgrade_makes_of_measurements_is_what_a_driver_makes(released_url):
    with flatselect.open_study(released_url) as study:
        engine, uid = study._reader.engine, study._reader.study_uid
        with open_transaction(engine) as connection:
            chosen = select(StandingRow.__table__).order_by(StandingRow.trial_number)
            upgraded = connection.execute(chosen).all()
            connection.execute(delete(StandingRow))
            keys = [{"of_study": uid, "of_trial": row.trial_number} for row in upgraded]
            connection.execute(make_refresh(engine.dialect.name), keys)
            assert connection.execute(chosen).all() == upgraded
    assert len([row for row in upgraded if row.calibrator_uid]) >= 2


def test_earlier_runs_get_their_hashes(released_url):
    with flatselect.open_study(released_url) as study:
        reader = study._reader
        runs, fingerprint = reader.runs(), reader.data()["fingerprint"]
    assert runs
    for run in runs:
        plain = json.dumps(run.config, sort_keys=True, separators=(",", ":"))
        assert run.config_sha256 == hashlib.sha256(plain.encode()).hexdigest()
        assert (run.data_fingerprint, run.host_kind) == (fingerprint, None)


def test_frames_and_views_hold_what_was_written(released_url, version, said, tmp_path):
    load_dump(version, tmp_path / "untouched.db")
    names = ("trial_number", "epoch", "train_loss", "relative_gap_flatness")
    with closing(sqlite3.connect(tmp_path / "untouched.db")) as connection:
        written = connection.execute(
            f"SELECT {', '.join(names)}, json_extract(companions, '$.mean_confidence') "
            "FROM flatselect_measurements ORDER BY trial_number, epoch"
        ).fetchall()
    with flatselect.open_study(released_url) as study:
        trials, measured, ranking = study.trials(), study.measurements(), study.ranking()
    for record, (_, row) in zip(said, trials.iterrows(), strict=True):
        values = {name: value for name, value in record.items() if name not in SPREAD and value is not None}
        values["seconds"] = pytest.approx(values["seconds"], abs=5e-4)  # rounded there
        assert {name: row[name] for name in values} == values
        assert {name: row[f"param_{name}"] for name in record["params"]} == record["params"]
    shown = measured[["trial", *names[1:], "companion_mean_confidence"]].astype("float64").to_numpy()
    assert shown == pytest.approx(np.array(written, dtype=float), rel=1e-15, nan_ok=True)
    with read_sql(released_url, "SELECT number FROM flatselect_ranking ORDER BY rank") as (_, rows):
        assert [number for (number,) in rows] == list(ranking["number"])
    known = {record["number"]: record["predicted_test_score"] for record in said}
    scores = [known[number] for number in ranking["number"]]
    assert scores == sorted(scores, reverse=True)


def test_report_shows_every_trial(version, said, tmp_path):
    load_dump(version, tmp_path / "released.db")
    run("report", tmp_path / "released.db", "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for record in said:
        assert record["model"] in page
        if record["failure"]:
            assert record["failure"].partition(":")[0] in page
