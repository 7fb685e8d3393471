"""What a search writes is what a reader reads, in both databases."""

import dataclasses
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from flatselect.errors import StoreError
from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.run_records import CheckpointRecord
from flatselect.store.study_reader import StudyReader
from flatselect.store.study_writer import StudyWriter
from flatselect.store.tables import MeasurementRow

FULL = EpochMeasurement(
    epoch=1,
    train_score=0.9375,
    train_loss=0.123456789012345678,
    n_train_images=1437,
    n_parameters=6_000_000_000,
    relative_gap_flatness=1.5e-300,
    hessian_trace=2.5e300,
    layer="stages.1.conv2",
    exactness="gauss_newton",
    n_probe_images=512,
    flatness_standard_error=2.5e-302,
    companions={"mean_confidence": 0.75, "margin_q10": -0.0},
    holdout_score=0.875,
    holdout_loss=0.5,
    n_holdout_images=360,
    train_seconds=1.25,
    measure_seconds=0.0625,
)
BARE = EpochMeasurement(epoch=2, train_score=0.5, train_loss=0.7, n_train_images=1437, n_parameters=10)


@pytest.fixture
def writer(engine):
    return StudyWriter.create(
        engine, "uid-1", "digits", {"study": {"name": "digits", "seed": 0}, "x": 1.0}, {"n_images": 7}
    )


@pytest.fixture
def reader(engine, writer):
    return StudyReader(engine, writer.study_uid)


def _now():
    return datetime.now(UTC).replace(tzinfo=None)


def test_every_field_of_a_measurement_has_its_column():
    fields = {field.name for field in dataclasses.fields(EpochMeasurement)}
    assert set(MeasurementRow.__table__.columns.keys()) == fields | {"study_uid", "trial_number", "attempt"}


def test_study_is_read_back(writer, reader):
    assert reader.name() == "digits"
    assert reader.config() == {"study": {"name": "digits", "seed": 0}, "x": 1.0}
    assert isinstance(reader.config()["x"], float)
    assert reader.data() == {"n_images": 7}


def test_study_entered_again_stays_as_it_was(engine, writer, reader):
    StudyWriter.create(engine, "uid-1", "other", {}, {})
    assert reader.name() == "digits"


def test_study_that_is_not_there(engine, writer):
    with pytest.raises(StoreError, match="holds no study with the uid nothing"):
        StudyReader(engine, "nothing").config()
    with pytest.raises(IntegrityError):
        StudyWriter(engine, "nothing").add_measurements(0, 1, [FULL])


def test_measurements_are_read_back_exactly(writer, reader):
    writer.add_measurements(3, 1, [BARE, FULL])
    writer.add_measurements(12, 1, [FULL])
    assert reader.measurements() == {3: [FULL, BARE], 12: [FULL]}
    assert list(reader.measurements()[3][0].companions) == ["mean_confidence", "margin_q10"]
    assert reader.measurements(12) == {12: [FULL]}
    assert reader.measurements(4) == {}


def test_epoch_sent_again_stays_as_it_was(writer, reader):
    writer.add_measurements(0, 1, [FULL])
    writer.add_measurements(0, 2, [dataclasses.replace(FULL, train_score=0.0), BARE])
    assert reader.measurements() == {0: [FULL, BARE]}


def test_numbers_that_are_not_finite_survive(engine, writer, reader):
    strange = dataclasses.replace(
        FULL,
        train_loss=math.nan,
        train_score=math.inf,
        relative_gap_flatness=math.nan,
        hessian_trace=-math.inf,
        holdout_loss=math.nan,
        companions={"finite": 1.0, "nan": math.nan, "infinite": math.inf},
    )
    writer.add_measurements(0, 1, [strange])
    (read,) = reader.measurements()[0]
    assert math.isnan(read.train_loss)
    assert read.train_score == math.inf
    assert read.relative_gap_flatness is None
    assert not read.is_measured
    assert read.hessian_trace == -math.inf
    assert read.holdout_loss is None
    assert read.companions["finite"] == 1.0
    assert math.isnan(read.companions["nan"])
    assert math.isnan(read.companions["infinite"])
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT companions FROM flatselect_measurements")).scalar()
    assert "NaN" not in str(stored)


def test_calibrators_and_predictions(writer, reader):
    assert reader.latest_calibrator() is None
    assert reader.latest_predictions() == {}
    artifact = {"rows": [{"features": {"log_flatness": math.nan, "slope": math.inf}, "gap": 0.1}], "version": 1}
    first = writer.add_calibrator({"version": 0}, {"n_rows": 3})
    second = writer.add_calibrator(artifact, {"n_rows": 5, "r2": math.nan, "names": ("a", "b")})
    uid, read_artifact, summary = reader.latest_calibrator()
    assert uid == second
    assert repr(read_artifact) == repr(artifact)  # NaN is no equal of itself
    assert summary == {"n_rows": 5, "r2": None, "names": ["a", "b"]}

    plain = Prediction(0.1, (0.05, 0.15), 0.85, (0.8, 0.9))
    wide = Prediction(math.nan, (-math.inf, math.inf), 0.8, (-math.inf, math.inf), extrapolation=True)
    writer.add_predictions(first, {(0, 1): plain, (0, 2): plain})
    assert reader.latest_predictions() == {(0, 1): plain, (0, 2): plain}, "the second has said nothing yet"
    writer.add_predictions(second, {(0, 1): plain})
    writer.add_predictions(second, {(0, 1): wide, (1, 1): plain})
    assert reader.predictions(first) == {(0, 1): plain, (0, 2): plain}
    assert repr(reader.predictions(second)) == repr({(0, 1): wide, (1, 1): plain})
    assert repr(reader.latest_predictions()) == repr(reader.predictions(second))
    writer.add_predictions(second, {})


def test_runs(writer, reader):
    before = _now()
    first = writer.start_run("host", 42, "inline", {"torch": "2.6"}, {"trials": 5})
    (run,) = reader.runs()
    assert (run.uid, run.host, run.pid, run.backend) == (first, "host", 42, "inline")
    assert (run.versions, run.config, run.ended_at, run.outcome) == ({"torch": "2.6"}, {"trials": 5}, None, None)
    assert before <= run.started_at == run.heartbeat_at <= _now()
    second = writer.start_run("host", 43, "ray", {}, {})
    writer.heartbeat(first)
    writer.end_run(first, "interrupted")
    ended, alive = reader.runs()
    assert ended.outcome == "interrupted"
    assert run.started_at == ended.started_at < ended.heartbeat_at == ended.ended_at
    assert ended.ended_at - before < timedelta(seconds=30), "times are UTC"
    assert (alive.uid, alive.ended_at) == (second, None)


def test_attempts(writer, reader):
    run = writer.start_run("host", 42, "inline", {}, {})
    writer.start_attempt(1, 1, run, is_calibration=True, candidate={"model": "cnn"}, model="cnn 2×1")
    writer.start_attempt(0, 1, run, is_calibration=False, candidate={}, model="")
    writer.end_attempt(1, 1, "lost", failure=Failure("WorkerLost", "killed \x00 here", "Traceback …"))
    writer.start_attempt(1, 2, run, is_calibration=True, candidate={"model": "cnn"}, model="cnn 2×1")
    writer.end_attempt(1, 2, "pruned", pruned_because="too sharp")
    other, lost, pruned = reader.attempts()
    assert (other.trial_number, other.outcome, other.ended_at, other.failure) == (0, "running", None, None)
    assert (lost.trial_number, lost.attempt, lost.run_uid, lost.outcome) == (1, 1, run, "lost")
    assert lost.failure == Failure("WorkerLost", "killed \ufffd here", "Traceback …")
    assert (lost.is_calibration, lost.candidate, lost.model) == (True, {"model": "cnn"}, "cnn 2×1")
    assert lost.ended_at >= lost.started_at
    assert (pruned.attempt, pruned.outcome, pruned.pruned_because, pruned.failure) == (2, "pruned", "too sharp", None)


def test_attempt_entered_again_does_not_begin_anew(writer, reader):
    run = writer.start_run("host", 42, "inline", {}, {})
    writer.start_attempt(0, 1, run, is_calibration=False, candidate={}, model="")
    writer.end_attempt(0, 1, "complete")
    writer.start_attempt(0, 1, run, is_calibration=False, candidate={}, model="")
    assert [attempt.outcome for attempt in reader.attempts()] == ["complete"]


def test_a_trial_has_one_checkpoint(writer, reader):
    assert reader.checkpoint(0) is None
    writer.set_checkpoint(0, 1, "/data/a.pt", "00", 10)
    writer.set_checkpoint(0, 2, "/data/b.pt", "ff", 5_000_000_000)
    writer.set_checkpoint(1, 7, "/data/c.pt", "aa", 1)
    assert reader.checkpoint(0) == CheckpointRecord(0, 2, "/data/b.pt", "ff", 5_000_000_000)
    assert reader.checkpoints().keys() == {0, 1}
    writer.set_checkpoints_deleted([0])
    assert reader.checkpoint(0).deleted_at is not None
    assert reader.checkpoint(1).deleted_at is None
    assert reader.kept_checkpoints().keys() == {1}
    writer.set_checkpoint(0, 3, "/data/b.pt", "ee", 10)  # written again
    assert reader.checkpoint(0) == CheckpointRecord(0, 3, "/data/b.pt", "ee", 10)


def test_audits(writer, reader):
    assert reader.audits() == {}
    writer.add_audit(0, 0.5, 1.0, 100)
    writer.add_audit(0, 0.75, math.nan, 100)
    writer.add_audit(2, 0.25, None, 100)
    assert reader.audits() == {0: 0.75, 2: 0.25}


def test_studies_do_not_see_each_other(engine, writer, reader):
    other = StudyWriter.create(engine, "uid-2", "digits", {}, {})
    run = other.start_run("host", 1, "inline", {}, {})
    other.start_attempt(0, 1, run, is_calibration=False, candidate={}, model="")
    other.add_measurements(0, 1, [FULL])
    other.add_predictions(other.add_calibrator({}, {}), {(0, 1): Prediction(0.1, (0, 1), 0.8, (0, 1))})
    other.set_checkpoint(0, 1, "a.pt", "00", 1)
    other.add_audit(0, 0.5, 1.0, 100)
    assert reader.runs() == []
    assert reader.attempts() == []
    assert reader.measurements() == {}
    assert reader.latest_calibrator() is None
    assert reader.latest_predictions() == {}
    assert reader.checkpoints() == {}
    assert reader.audits() == {}


def test_an_epoch_is_written_by_a_few_statements_however_many_came_before(writer, reader):
    calibrator, executed = writer.add_calibrator({}, {}), []
    event.listen(reader.engine, "before_cursor_execute", lambda *arguments: executed.append(arguments[2]))
    for epoch in range(1, 42):
        executed.clear()
        writer.add_measurements(0, 1, [dataclasses.replace(FULL, epoch=epoch)])
        writer.add_predictions(calibrator, {(0, epoch): Prediction(0.1, (0.0, 0.2), 0.8, (0.7, 0.9))})
        assert len(executed) == 4, "the rows, and what stands for the trial after each"


def test_of_two_processes_that_start_at_once_one_becomes_the_driver(writer, database_url):
    script = (
        "import sys\n"
        "from flatselect.store.engine import make_engine\n"
        "from flatselect.store.study_writer import StudyWriter\n"
        "writer = StudyWriter(make_engine(sys.argv[1]), sys.argv[2])\n"
        "def refuse(run): raise SystemExit(3)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "writer.start_run('host', 1, 'inline', {}, {}, refuse)\n"
    )
    command = [sys.executable, "-c", script, database_url, writer.study_uid]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert sorted(process.returncode for process in processes) == [0, 3, 3, 3]


def test_a_run_that_another_process_ended_stays_ended(writer, engine):
    first = writer.start_run("host", 1, "inline", {}, {})
    assert writer.heartbeat(first)
    seen = []
    writer.start_run("host", 2, "inline", {}, {}, lambda run: seen.append(run.uid))
    assert seen == [first]
    assert not writer.heartbeat(first)
    writer.end_run(first, "complete")
    assert [run.outcome for run in StudyReader(engine, writer.study_uid).runs()] == ["died", None]


def test_attempts_that_an_ended_run_leaves_are_interrupted_and_no_others(writer, reader):
    ended, alive = (writer.start_run("host", pid, "inline", {}, {}) for pid in (1, 2))
    for number, run_uid in enumerate((ended, ended, alive)):
        writer.start_attempt(number, 1, run_uid, is_calibration=False, candidate={}, model="cnn")
    writer.end_attempt(0, 1, "complete")
    writer.end_run(ended, "interrupted")
    attempts = reader.attempts()
    assert [attempt.outcome for attempt in attempts] == ["complete", "interrupted", "running"]
    assert attempts[1].ended_at is not None
    assert attempts[2].ended_at is None


def test_an_interrupted_attempt_may_still_come_to_its_end(writer, reader):
    """A run that is stopped at once may end twice: what came first is the lesser news."""
    run_uid = writer.start_run("host", 1, "inline", {}, {})
    writer.start_attempt(0, 1, run_uid, is_calibration=False, candidate={}, model="cnn")
    for outcome in ("interrupted", "lost", "complete"):
        writer.end_attempt(0, 1, outcome)
    assert [attempt.outcome for attempt in reader.attempts()] == ["lost"]
