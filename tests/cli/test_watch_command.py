"""`flatselect watch`: a real search in another process is looked on at, from its begin to its end and to its death."""

import dataclasses
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import closing

import optuna
import pytest
from running import Command

from flatselect.cli.watch_output import list_news
from flatselect.records import EpochMeasurement
from flatselect.search.watching import StudyWatch, estimate_seconds_left
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.patience import Patience
from flatselect.store.study_progress import ProgressReader, TrialCounts, TrialProgress
from flatselect.store.study_reader import UID_ATTRIBUTE, find_study
from flatselect.store.study_writer import StudyWriter

FLATSELECT = Command(("watch",))
PROGRAM = [sys.executable, "-m", "flatselect"]
STUDY = """
[study]
name = "tiny"
trials = 7
seed = 5
[data]
train = "digits"
size = 150
[search_space]
width = { type = "int", low = 2, high = 6 }
learning_rate = { type = "float", low = 0.01, high = 0.2, log = true }
[training]
epochs = 3
batch_size = 16
[measure]
probe = 40
[calibration]
trials = 4
holdout = 0.3
[pruner]
startup_trials = 2
[ray]
backend = "inline"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


def start(*words, **options):
    return subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(is_so, process):
    """Waits until something is so, as long as a process lives."""
    while not is_so():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def open_tiny():
    return find_study(make_engine("sqlite:///tiny.db", create=False), "tiny")


def has_begun(n_trials):
    def ask():
        done = FLATSELECT.run("tiny.toml", "--once", "--json")
        return done.exit_code == 0 and json.loads(done.stdout)["trials"]["running"] + n_ended(done) >= n_trials

    def n_ended(done):
        return sum(json.loads(done.stdout)["trials"][name] for name in ("complete", "pruned", "failed"))

    return ask


@pytest.mark.end_to_end
def test_a_search_from_its_begin_to_its_end(folder):
    with start("search", "tiny.toml") as search:
        wait_for(has_begun(1), search)
        with start("watch", "tiny.toml", "--interval", "0.2") as watch:
            search.communicate()
            lines, end = watch.communicate()
    assert watch.returncode == 0, end
    assert end.strip() == "the study has all its 7 trials"
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ ", line) for line in lines.splitlines()), "UTC says so"
    lines = [line.split(" ", 2)[2] for line in lines.splitlines()]
    with closing(open_tiny()) as reader:
        trials = {trial.number: trial for trial in reader.trials(include_audits=False)}
    counts = {state: sum(trial.state == state for trial in trials.values()) for state in ("COMPLETE", "PRUNED", "FAIL")}
    assert lines[-1] == (
        f"7 of 7 trials ended: {counts['COMPLETE']} complete, {counts['PRUNED']} pruned, {counts['FAIL']} failed; "
        "0 running, 0 to come"
    )
    found = re.findall(r"^(\d)/7 trial (\d): (complete|pruned) after (\d) epochs(.*)$", "\n".join(lines), re.MULTILINE)
    n_before = int(re.match(r"tiny: (\d) of 7", lines[0])[1])
    assert [int(number) for _, number, *_ in found] == list(range(n_before, 7)), "every end is told once, in order"
    for _, number, state, epochs, said in found:
        trial = trials[int(number)]
        assert (trial.state.lower(), trial.epochs) == (state, int(epochs))
        if trial.is_calibration:
            assert ", calibration trial, " in said
        else:
            low, high = trial.prediction.predicted_test_score_interval
            mark = "?" * trial.prediction.extrapolation
            assert (
                f"predicted test score {trial.prediction.predicted_test_score:.4f}{mark} [{low:.4f}, {high:.4f}]"
                in said
            )
    shown = json.loads(FLATSELECT.run("tiny.toml", "--once", "--json").stdout)
    best = max((t for t in trials.values() if t.prediction), key=lambda t: t.prediction.predicted_test_score)
    assert shown["best"]["predicted_test_score"] == best.prediction.predicted_test_score
    assert (shown["is_searched"], shown["seconds_left"], shown["running"]) == (False, None, [])


def make_study(url, *, pid):
    """Of eight wanted: 0 complete, 1 failed, 2 and 3 running since their second and first epoch of ten, of one run."""
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name="tiny", storage=storage, direction="maximize")
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    config = {"study": {"name": "tiny", "trials": 8}, "ray": {"workers": 3}}
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], "tiny", config, {})
    run = writer.start_run(socket.gethostname(), pid, "ray", {}, config)
    for number in range(4):
        study.ask().suggest_float("learning_rate", 0.01, 0.1)
        candidate = {"training": {"epochs": 10}}
        model = f"[red]cnn[/red]\x1b[31m {number}"
        writer.start_attempt(number, 1, run, is_calibration=False, candidate=candidate, model=model)
        writer.add_measurements(number, 1, [_measure(epoch) for epoch in range(1, (10, 1, 2, 1)[number] + 1)])
    study.tell(0, 0.8)
    writer.end_attempt(0, 1, "complete")
    study.tell(1, state=optuna.trial.TrialState.FAIL)
    writer.end_attempt(1, 1, "fail")
    close_optuna_storage(storage)
    engine.dispose()
    return run


def _measure(epoch):
    return EpochMeasurement(epoch, 0.9, 0.3, 100, 10, 5.0, train_seconds=3.0, measure_seconds=1.0)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tiny.db"
    return request.getfixturevalue("postgresql_url")


def test_one_look_is_what_the_database_holds(url):
    make_study(url, pid=os.getppid())
    shown = FLATSELECT.run_json("tiny", "--storage", url, "--once")
    assert shown["trials"] == {
        "wanted": 8, "complete": 1, "pruned": 0, "failed": 1, "running": 2, "to_come": 4, "repetitions": 0
    }  # fmt: skip
    assert shown["workers"] == {"busy": 2, "most": 3}
    assert (shown["is_searched"], shown["over_because"], shown["best"]) == (True, None, None)
    assert [(t["number"], t["epochs"], t["planned_epochs"], t["seconds_an_epoch"]) for t in shown["running"]] == [
        (2, 2, 10, 4.0),
        (3, 1, 10, 4.0),
    ]
    assert shown["seconds_left"] >= 36, "trial 3 has nine epochs left, of four seconds each"
    for n_columns in (60, 80, 120):
        done = Command(("watch",), n_columns).run("tiny", "--storage", url, "--once")
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= n_columns
        words = " ".join(done.stdout.split())
        for text in ("2 of 8 trials ended", "2 running, 4 to come", "2 of at most 3 busy", "2/10", "1/10", "none yet"):
            assert text in words, text
        assert "[red]cnn[/red]\\x" in words
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("2 ", "3 "))]
        assert [row[-1] for row in rows] == ["4", "4"], "no column is cut off"
        assert "\x1b" not in done.stdout


def test_a_trial_that_ends_while_it_is_looked_is_counted_and_listed_or_neither(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/tiny.db"
    make_study(url, pid=os.getppid())
    storage = make_optuna_storage(url)
    study = optuna.load_study(study_name="tiny", storage=storage)
    find = ProgressReader.find_last_ended

    def find_late(self, n):
        if study.trials[2].state.name == "RUNNING":
            study.tell(2, 0.5)  # after the count, before the list
        return find(self, n)

    monkeypatch.setattr(ProgressReader, "find_last_ended", find_late)
    with closing(find_study(make_engine(url), "tiny")) as reader:
        looked = StudyWatch(reader).look()
    close_optuna_storage(storage)
    assert looked.counts.ended == 3
    assert [trial.number for trial in looked.ended] == [2, 1, 0]


def test_what_is_read_again_is_what_has_changed(tmp_path):
    url = f"sqlite:///{tmp_path}/tiny.db"
    make_study(url, pid=os.getppid())
    with closing(find_study(make_engine(url), "tiny")) as reader:
        watching = StudyWatch(reader)
        assert [trial.number for trial in watching.look().ended] == [1, 0]
        storage = make_optuna_storage(url)
        study = optuna.load_study(study_name="tiny", storage=storage)
        study.tell(2, 0.5)
        now = watching.look()
        close_optuna_storage(storage)
    assert (now.counts.complete, now.ended[0].number) == (2, 2)
    assert [trial.number for trial in now.running] == [3]


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        ("interrupted", 1, "the search was ended as interrupted, by process"),
        ("complete", 1, "the search ended with 4 of 8 trials"),
    ],
)
def test_it_ends_with_the_search(tmp_path, monkeypatch, outcome, code, said):
    monkeypatch.chdir(tmp_path)
    run = make_study("sqlite:///tiny.db", pid=os.getppid())
    with closing(open_tiny()) as reader:
        StudyWriter(reader.engine, reader.study_uid).end_run(run, outcome)
    done = FLATSELECT.run("tiny")
    assert done.exit_code == code
    assert said in done.stderr


def test_a_terminal_gets_a_view_that_renews_itself(folder):
    make_study("sqlite:///tiny.db", pid=999_999_999)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "30", "TERM": "xterm"}
    done = subprocess.run(
        [*PROGRAM, "watch", "tiny"], stdout=theirs, stderr=subprocess.PIPE, env=environment, text=True
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 1
    assert "its driver is gone" in done.stderr
    assert "2 of 8 trials ended" in shown
    assert "\x1b[?25l" in shown, "the cursor is hidden while it renews itself"
    assert "\x1b[?25h" in shown, "and comes back"
    assert "\\x1b[31m" in shown, "what is in a name is text"


def test_ctrl_c_ends_the_watching_alone(folder):
    make_study("sqlite:///tiny.db", pid=os.getppid())
    with start("watch", "tiny") as watch:
        assert "2 of 8 trials ended" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, end = watch.communicate()
    assert (watch.returncode, end.strip()) == (130, "no longer watching; the search is left as it is")


def test_a_driver_that_is_killed_is_told(folder):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as driver:
        make_study("sqlite:///tiny.db", pid=driver.pid)
        with start("watch", "tiny", "--interval", "0.2") as watch:
            assert "2 of 8 trials ended" in watch.stdout.readline()
            driver.kill()
            driver.wait()
            _, end = watch.communicate()
    assert watch.returncode == 1
    assert f"its driver is gone: process {driver.pid} on {socket.gethostname()} gave its last sign of life" in end
    assert "the same `flatselect search` goes on with it" in end


@pytest.mark.postgresql
def test_a_server_that_restarts_is_waited_for(postgresql_url, outage):
    make_study(postgresql_url, pid=os.getppid())
    said = []
    with closing(find_study(make_engine(postgresql_url), "tiny")) as reader:
        watching = StudyWatch(reader, Patience(60.0, said.append))
        before = watching.look()
        outage(2.0)
        after = watching.look()
    assert after.counts == before.counts
    assert len(said) == 2
    assert "the database answers again" in said[1]


def test_news_are_lines_whatever_a_name_holds(folder):
    make_study("sqlite:///tiny.db", pid=os.getppid())
    with closing(open_tiny()) as reader:
        now = StudyWatch(reader).look()
    before = dataclasses.replace(now, counts=TrialCounts(running=3), running=now.running[1:])
    assert list_news(before, now) == [
        "2/8 trial 0: complete after 10 epochs, training score 0.9000",
        "2/8 trial 1: failed after 1 epochs: no reason is known",
        "2/8 trial 2 began: [red]cnn[/red]\x1b[31m 2",
    ]
    assert list_news(now, now) == []


def test_of_one_look_alone_there_is_json(folder):
    make_study("sqlite:///tiny.db", pid=1)
    assert FLATSELECT.run("tiny", "--json").exit_code == 2
    assert "no absent.db here" in FLATSELECT.refuse("absent")


def make_running(epochs, *, seconds=0.0, planned=10):
    return TrialProgress(
        0, "RUNNING", "", False, 1, "run", epochs, planned, seconds, None, None, None, extrapolation=False, reason=None
    )


@pytest.mark.parametrize(
    ("seconds", "n_ended", "running", "n_to_come", "expected"),
    [
        (100.0, 0, [make_running(5, seconds=50)], 3, None),  # unknown before anything has ended
        (100.0, 10, [], 5, 50.0),
        (100.0, 4, [make_running(5), make_running(5)], 4, 100.0),  # 4 + 2/2 done, 4 + 2/2 to do
        (100.0, 9, [make_running(10)], 0, 0.0),
        (100.0, 98, [make_running(5, seconds=500.0)], 0, 500.0),  # a slow one is waited for: 5 epochs of 100 s
        (100.0, 10, [make_running(5, planned=None)], 0, 10.0),
    ],
)
def test_the_time_left_goes_by_the_pace_of_what_has_ended(seconds, n_ended, running, n_to_come, expected):
    assert estimate_seconds_left(seconds, n_ended, running, n_to_come) == pytest.approx(expected)
