"""What stands for a trial is what its measurements and predictions say, however they came to be written."""

import pytest
from recorded_study import measure, record_study
from sqlalchemy import delete, select, update

from flatselect.records import Prediction
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.study_query import Question, ask
from flatselect.store.study_reader import find_study
from flatselect.store.study_writer import StudyWriter
from flatselect.store.tables import StandingRow, StudyRow

COLUMNS = "epochs,epoch,seconds,relative_gap_flatness,predicted_test_score"


@pytest.fixture
def reader(database_url):
    record_study(database_url)
    reader = find_study(make_engine(database_url, create=False), "digits")
    yield reader
    reader.close()


@pytest.fixture
def writer(reader):
    return StudyWriter(reader.engine, reader.study_uid)


def read(reader, number):
    (row,) = ask(reader.engine, [reader.study_uid], Question(where=f"number = {number}", columns=COLUMNS))
    return list(row.values())


def predict(score):
    return Prediction(0.1, (0.05, 0.15), score, (score - 0.1, score + 0.1))


def test_epochs_written_twice_count_once(reader, writer):
    before = read(reader, 8)
    assert before == [4, 2, 3.75, 1 / 9 + 2, None], "epoch 3 has no flatness, and of epoch 4 there is a checkpoint"
    writer.add_measurements(8, 1, [measure(8, epoch, epoch != 3) for epoch in (1, 2, 3)])
    assert read(reader, 8) == before
    writer.add_measurements(8, 2, [measure(8, epoch, epoch != 3) for epoch in (1, 2, 3, 4, 5)])
    assert read(reader, 8) == [5, 5, 6.25, 1 / 9 + 5, None]
    writer.add_measurements(8, 2, [measure(8, 6, flatness=False)])
    assert read(reader, 8) == [6, 5, 7.5, 1 / 9 + 5, None]


def test_the_latest_calibrator_that_has_said_something_counts(reader, writer):
    assert read(reader, 1)[-1] == 1.0
    writer.add_predictions(writer.add_calibrator({"n": 0}, {}), {(1, 2): predict(0.3)})
    assert read(reader, 1)[-1] == 1.0, "an older one spoke last"
    newest = writer.add_calibrator({"n": "newest"}, {})
    assert read(reader, 1)[-1] == 1.0, "it has said nothing yet"
    writer.add_predictions(newest, {(1, 2): predict(0.4), (5, 2): predict(0.6), (8, 1): predict(0.7)})
    assert [read(reader, number)[-1] for number in (0, 1, 5, 8)] == [None, 0.4, 0.6, None]
    writer.add_predictions(newest, {(1, 2): predict(0.45), (1, 3): predict(0.5)})
    assert read(reader, 1)[-1] == 0.45


def test_what_is_gathered_is_written_with_what_follows_of_it(reader, writer):
    with writer.gathered() as rows:
        writer.add_measurements(8, 1, [measure(8, 5)])
        writer.add_predictions(writer.add_calibrator({"n": "newest"}, {}), {(8, 5): predict(0.4)})
    assert read(reader, 8)[0] == 4
    with open_transaction(reader.engine) as connection:
        for statement, values in rows:
            connection.execute(statement, list(values))
    assert read(reader, 8) == [5, 5, 5.0, 1 / 9 + 5, 0.4]


def test_a_run_makes_up_for_what_a_driver_of_an_older_version_wrote(reader, writer):
    before = [read(reader, number) for number in range(9)]
    with open_transaction(reader.engine) as connection:
        connection.execute(delete(StandingRow).where(StandingRow.trial_number < 3))
        connection.execute(update(StandingRow).values(score=None, epochs=1))
    assert [read(reader, number) for number in range(9)] != before
    writer.start_run("host", 1, "inline", {}, {})
    assert [read(reader, number) for number in range(9)] == before


def test_it_goes_with_its_study(reader):
    with open_transaction(reader.engine) as connection:
        assert len(connection.execute(select(StandingRow.epoch)).all()) == 8
        connection.execute(delete(StudyRow))
        assert connection.execute(select(StandingRow.epoch)).all() == []
