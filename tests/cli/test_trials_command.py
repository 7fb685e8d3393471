"""`flatselect trials`: what is shown of attempts, and which trials may be tried again or ended."""

import csv
import io
import json
import os
import socket
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import optuna
import psycopg
import pytest
from optuna.trial import TrialState
from running import Command

from flatselect.records import EpochMeasurement, Failure
from flatselect.search.retrying import enqueue_retries
from flatselect.search.study_identity import open_known_study
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE, find_study
from flatselect.store.study_writer import StudyWriter

FLATSELECT = Command()
NOBODY = 999_999_999
TRACEBACK = 'Traceback (most recent call last):\n  File "own.py", line 3, in forward\nRuntimeError: no [bold]way'


def make_study(url, *, pid=NOBODY):
    """Trials that are 0 complete after a lost worker, 1 failed, 2 pruned, 3 running, 4 failed, 5 running unstarted."""
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name="tiny", storage=storage, direction="maximize")
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], "tiny", {}, {})
    run = writer.start_run(socket.gethostname(), pid, "inline", {}, {})
    for number in range(6):
        study.ask().suggest_float("learning_rate", 0.01 + number / 100, 0.01 + number / 100)
        if number < 5:
            model = "cnn 2×3 inverted_residual w32 k5 leaky_relu"
            writer.start_attempt(number, 1, run, is_calibration=number == 1, candidate={}, model=model)
    writer.add_measurements(0, 1, [_measure(1), _measure(2)])
    writer.end_attempt(0, 1, "lost", failure=Failure("WorkerLost", "the worker died\nwith signal 9"))
    writer.start_attempt(0, 2, run, is_calibration=False, candidate={}, model="cnn")
    writer.add_measurements(0, 2, [_measure(3)])
    writer.end_attempt(0, 2, "complete")
    study.tell(0, 0.8)
    for number in (1, 4):
        writer.end_attempt(number, 1, "fail", failure=Failure("RuntimeError", "no [bold]way\nat all", TRACEBACK))
        study.tell(number, state=TrialState.FAIL)
    writer.end_attempt(2, 1, "pruned", pruned_because="its upper bound 0.4 falls short of 0.8")
    study.tell(2, state=TrialState.PRUNED)
    writer.add_measurements(3, 1, [_measure(1)])
    close_optuna_storage(storage)
    engine.dispose()


def _measure(epoch):
    return EpochMeasurement(epoch, 0.9, 0.3, 100, 10, 5.0)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request, tmp_path, monkeypatch):
    """The database of a study whose run is dead."""
    monkeypatch.chdir(tmp_path)
    database = (
        f"sqlite:///{tmp_path}/tiny.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    )
    make_study(database)
    return database


@pytest.fixture
def flatselect(url):
    """`flatselect trials tiny` with what follows it, on that database."""

    def run(*arguments):
        return FLATSELECT.run("trials", "tiny", *arguments, "--storage", url)

    return run


def refuse(done, code=1):
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stdout == ""
    return " ".join(done.stderr.split())


def read_trials(url):
    with closing(open_known_study(find_study(make_engine(url), "tiny"))) as opened:
        return opened.study.get_trials()


def test_every_attempt_is_a_record(flatselect):
    records = json.loads(flatselect("--json").stdout)
    assert [(r["trial"], r["attempt"], r["outcome"], r["epochs"]) for r in records] == [
        (0, 1, "lost", 2),
        (0, 2, "complete", 3),
        (1, 1, "fail", 0),
        (2, 1, "pruned", 0),
        (3, 1, "running", 1),
        (4, 1, "fail", 0),
        (5, None, "running", 0),
    ]
    lost, complete, failed, pruned, left, _, unstarted = records
    assert lost["reason"] == "WorkerLost: the worker died\nwith signal 9"
    assert (lost["host"], lost["pid"], lost["backend"]) == (socket.gethostname(), NOBODY, "inline")
    assert lost["seconds"] >= 0
    assert datetime.fromisoformat(lost["started_at"]).tzinfo is not None
    assert complete["reason"] is None
    assert (failed["state"], failed["is_calibration"]) == ("FAIL", True)
    assert "traceback" not in failed
    assert pruned["reason"] == "its upper bound 0.4 falls short of 0.8"
    assert left["reason"] == "its run died; the next search goes on with it"
    assert unstarted["reason"] == "its run died before it started; the next search goes on with it"
    assert [json.loads(line) for line in flatselect("--jsonl").stdout.splitlines()] == records
    rows = list(csv.DictReader(io.StringIO(flatselect("--csv").stdout)))
    assert [row["outcome"] for row in rows] == [record["outcome"] for record in records]


def test_the_table_fits_80_columns(flatselect):
    shown = flatselect().stdout
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    for text in ("lost", "complete", "pruned", "no [bold]way", f":{NOBODY}"):
        assert text in words
    assert "at all" not in words, "only the first line of a message"


def test_one_trials_story_has_the_whole_message_and_the_traceback(flatselect, url):
    def show(*words):
        return FLATSELECT.run("show", "tiny", *words, "--storage", url)

    story = show("1").stdout
    assert "tiny, trial 1: FAIL" in story
    assert "learning_rate = 0.02" in story
    assert "it held out a part of the images" in story
    lines = [line.strip() for line in story.splitlines()]
    start = lines.index("RuntimeError: no [bold]way")
    assert lines[start + 1] == "at all"
    assert lines[start + 2 : start + 5] == [line.strip() for line in TRACEBACK.splitlines()]
    assert "2: complete, 3 epochs" in show("0").stdout
    record = json.loads(show("1", "--json").stdout)["attempts"][0]
    assert record["traceback"] == TRACEBACK
    assert "trial 77: there is no such trial (there is 0 to 5)" in refuse(show("77"))
    assert "7: for one trial's story: flatselect show tiny 7" in refuse(flatselect("7"))
    assert "retyr: expected list, retry, fail or clean" in refuse(flatselect("retyr"))


def test_failed_trials_are_queued_anew_once(flatselect, url):
    done = flatselect("retry", "failed")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "trial 1: will be tried again as trial 6",
        "trial 4: will be tried again as trial 7",
    ]
    assert "next `flatselect search`" in done.stderr
    trials = read_trials(url)
    assert [trial.state for trial in trials[6:]] == [TrialState.WAITING] * 2
    assert [trial.user_attrs for trial in trials[6:]] == [{"flatselect:retries": 1}, {"flatselect:retries": 4}]
    assert trials[6].system_attrs["fixed_params"] == trials[1].params
    assert trials[1].state == TrialState.FAIL
    waiting = json.loads(flatselect("--json").stdout)[-1]
    assert (waiting["outcome"], waiting["retries"], waiting["reason"]) == ("waiting", 4, "waits for the next search")
    story = FLATSELECT.run("show", "tiny", "1", "--storage", url).stdout
    assert "tried again as trial 6" in " ".join(story.split())

    again = flatselect("retry", "failed")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "no failed trial that is not tried again already" in again.stderr
    assert "is tried again already, as trial 6, which waits" in refuse(flatselect("retry", "1"))
    assert len(read_trials(url)) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("0", "trial 0: is COMPLETE; only failed trials are tried again"),
        ("2", "trial 2: is PRUNED; only failed trials are tried again"),
        ("3", "trial 3: is RUNNING, and only failed trials are tried again"),
        ("9", "trial 9: there is no such trial (there is 0 to 5)"),
        ("1 9", "trial 9: there is no such trial (there is 0 to 5) none was queued"),
        ("failed 1", "expected trial numbers, or the one word failed"),
        ("best", "retry best: expected trial numbers, or the one word failed"),
    ],
)
def test_what_cannot_be_tried_again_is_refused_and_nothing_is_queued(flatselect, url, words, message):
    assert message in refuse(flatselect("retry", *words.split()))
    assert len(read_trials(url)) == 6


@pytest.mark.postgresql
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_of_two_who_ask_for_the_same_at_once_one_is_refused(flatselect, url):
    """The one holds the study's lock while the other asks, until it is seen to wait for it."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        ThreadPoolExecutor(1) as pool,
        closing(open_known_study(find_study(make_engine(url), "tiny"))) as opened,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        with opened.writer.lock():
            other = pool.submit(flatselect, "retry", "4")
            while not connection.execute(waiting).fetchone()[0]:
                assert not other.done(), other.result().output
                time.sleep(0.05)
            enqueue_retries(opened.study, [4])
        assert "trial 4: is tried again already, as trial 6" in refuse(other.result())
    assert len(read_trials(url)) == 7


def test_a_number_given_twice_is_queued_once(flatselect, url):
    assert flatselect("retry", "4", "4").exit_code == 0
    assert len(read_trials(url)) == 7


def test_what_failed_again_is_tried_again_by_its_new_number(flatselect, url):
    flatselect("retry", "1")
    with closing(open_known_study(find_study(make_engine(url), "tiny"))) as opened:
        opened.study.tell(opened.study.ask(), state=TrialState.FAIL)
    assert "which failed too; give that number: retry 6" in refuse(flatselect("retry", "1"))
    assert flatselect("retry", "failed").stdout.splitlines() == [
        "trial 4: will be tried again as trial 7",
        "trial 6: will be tried again as trial 8",
    ]
    assert read_trials(url)[8].user_attrs == {"flatselect:retries": 6}


def test_stale_trials_of_a_dead_run_are_ended(flatselect, url):
    done = flatselect("fail", "--stale", "0s")
    assert done.exit_code == 0, done.output
    assert [line.partition(";")[0] for line in done.stdout.splitlines()] == ["trial 3: failed", "trial 5: failed"]
    assert f"process {NOBODY} on {socket.gethostname()}) is not alive" in done.stdout
    assert "would have gone on with them" in done.stderr
    assert [trial.state.name for trial in read_trials(url)] == ["COMPLETE", "FAIL", "PRUNED", "FAIL", "FAIL", "FAIL"]
    records = {record["trial"]: record for record in json.loads(flatselect("--json").stdout)}
    assert records[3]["outcome"] == records[5]["outcome"] == "fail"
    with closing(find_study(make_engine(url), "tiny")) as reader:
        assert [run.outcome for run in reader.runs()] == ["died", "complete"]
        assert {a.trial_number: a.outcome for a in reader.attempts()}[3] == "fail"
    assert "Stale" in records[3]["reason"]
    assert "Stale" in records[5]["reason"]
    again = flatselect("fail", "--stale", "0s")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "no trial was left running" in again.stderr
    assert len([record for record in json.loads(flatselect("--json").stdout) if record["trial"] == 3]) == 1
    assert flatselect("retry", "3", "5").exit_code == 0


def test_ending_what_a_dead_run_left_is_no_search(flatselect, url):
    def tell(verb, *words):
        return FLATSELECT.run_json(verb, "tiny", *words, "--storage", url)

    before = tell("show")
    assert flatselect("fail", "--stale", "0s").exit_code == 0
    after = tell("show")
    assert (after["search"]["state"], after["search"]["runs"], after["search"]["backends"]) == ("died", 1, ["inline"])
    assert after["trials"]["running"] == 0
    for name in ("last_sign_at", "seconds", "versions"):
        assert after["search"][name] == before["search"][name], name
    assert "go on where it stopped" in FLATSELECT.run("show", "tiny", "--storage", url).stdout
    assert "its driver is gone" in tell("watch", "--once")["over_because"]


def test_what_showed_a_sign_of_life_of_late_is_left(flatselect, url):
    done = flatselect("fail", "--stale", "2h")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "trial 3: not that old" in done.stderr
    assert "goes on with what is left" in done.stderr
    assert [trial.state.name for trial in read_trials(url)].count("RUNNING") == 2


@pytest.fixture
def change_runs(tmp_path, monkeypatch):
    """A study in SQLite whose one run can be told what it is."""
    monkeypatch.chdir(tmp_path)
    make_study("sqlite:///tiny.db", pid=os.getppid())

    def change(**values):
        columns = ", ".join(f"{name} = ?" for name in values)
        with closing(sqlite3.connect("tiny.db")) as connection, connection:
            connection.execute(f"UPDATE flatselect_runs SET {columns}", list(values.values()))
            connection.execute("UPDATE flatselect_attempts SET started_at = '2026-01-01 00:00:00.000000'")
            connection.execute("UPDATE trials SET datetime_start = '2026-01-01 00:00:00.000000'")

    return change


def test_a_trial_of_a_living_run_is_never_ended(change_runs):
    change_runs(host=socket.gethostname())  # attempts begun long ago, by a process that is alive
    refused = FLATSELECT.refuse("trials", "tiny", "fail", "--stale", "1s")
    assert f"study 'tiny' is being searched by process {os.getppid()}" in refused
    change_runs(host="elsewhere")  # of another machine the heartbeat tells, which is fresh
    assert "on elsewhere" in FLATSELECT.refuse("trials", "tiny", "fail", "--stale", "1s")
    assert [t.state.name for t in read_trials("sqlite:///tiny.db")].count("RUNNING") == 2


def test_of_another_machine_the_last_heartbeat_counts(change_runs):
    beaten = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    change_runs(host="elsewhere", heartbeat_at=f"{beaten:%Y-%m-%d %H:%M:%S.%f}")
    left = FLATSELECT.run("trials", "tiny", "fail", "--stale", "2h")
    assert left.stdout.splitlines()[0].startswith("trial 5: failed"), "it never had a run that is known"
    assert "trial 3: not that old" in left.stderr
    assert "trial 3: failed" in FLATSELECT.run("trials", "tiny", "fail", "--stale", "30m").stdout


@pytest.mark.parametrize("age", ["2", "h", "-1h", "2 weeks", "1e3s", ""])
def test_an_age_that_is_none_is_misuse(age):
    refused = refuse(FLATSELECT.run("trials", "tiny", "fail", "--stale", age), code=2)
    assert "such as 90s, 30m, 2h or 1d" in refused


def test_an_age_beyond_all_times_is_misuse():
    refused = refuse(FLATSELECT.run("trials", "tiny", "fail", "--stale", f"{10**20}h"), code=2)
    assert "longer than any trial can have been silent" in refused


@pytest.mark.parametrize("words", [["fail"], ["retry"], ["retry", "1", "--no-such"], []])
def test_misuse(words):
    assert FLATSELECT.run("trials", *(["tiny"] if words else []), *words).exit_code == 2


@pytest.mark.parametrize("words", [["retry", "--help"], ["fail", "--help"], ["list", "--help"], ["--help"]])
def test_every_form_has_help(words):
    assert FLATSELECT.run("trials", "tiny", *words).exit_code == 0


@pytest.mark.parametrize("words", [[], ["retry", "1"], ["fail", "--stale", "1h"]])
def test_a_study_that_is_not_there_is_a_message_and_nothing_is_made(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert "no tiny.db here or in studies/" in FLATSELECT.refuse("trials", "tiny", *words)
    assert list(tmp_path.iterdir()) == []
