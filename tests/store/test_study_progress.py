"""How far a study has come, by a few short questions: the same as by all that is known of it."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from recorded_study import record_study

from flatselect.ranking import rank_trials
from flatselect.store.engine import make_engine
from flatselect.store.study_progress import ProgressReader
from flatselect.store.study_reader import find_study


@pytest.fixture
def reader(database_url):
    record_study(database_url, "other")
    record_study(database_url)
    with closing(find_study(make_engine(database_url), "digits")) as reader:
        yield reader


def test_it_is_what_the_reader_knows(reader):
    progress = ProgressReader(reader.engine, reader.study_uid)
    trials = {trial.number: trial for trial in reader.trials(include_audits=False)}
    optuna_trials = reader.optuna_trials()
    states = [trial.state for trial in optuna_trials]
    counts = progress.count_trials()
    assert (counts.complete, counts.pruned, counts.failed, counts.running, counts.waiting) == tuple(
        map(states.count, ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"))
    )
    assert counts.ended == sum(trial.ended_at is not None for trial in optuna_trials) == 8
    assert (counts.begun_repetitions, counts.waiting_repetitions) == (1, 0), "trial 3 trains trial 2 again"
    assert counts.searched == sum(not trial.is_repetition for trial in trials.values())

    (running,) = progress.find_running()
    ended = progress.find_last_ended(100)
    assert sorted(trial.number for trial in [running, *ended]) == sorted(trials)
    for found in [running, *ended]:
        known = trials[found.number]
        for name in ("state", "model", "is_calibration", "epochs", "seconds"):
            assert getattr(found, name) == getattr(known, name), name
        assert found.attempt == known.attempts
        assert found.train_score == (known.measurement and known.measurement.train_score)
        assert found.predicted_test_score == (known.prediction and known.prediction.predicted_test_score)
        expected = known.prediction and known.prediction.predicted_test_score_interval
        assert found.predicted_test_score_interval == expected
        assert found.extrapolation == bool(known.prediction and known.prediction.extrapolation)
        if known.state == "FAIL":
            # One that was never started has its reason in Optuna alone.
            assert found.reason == (known.failure or "ModelError: cannot be built")

    completed = {trial.number: trial.ended_at for trial in optuna_trials if trial.ended_at is not None}
    times = [completed[trial.number] for trial in ended]
    assert times == sorted(times, reverse=True)
    assert [trial.number for trial in progress.find_last_ended(3)] == [trial.number for trial in ended[:3]]
    middle = times[4]
    assert progress.count_ended_since(middle) == sum(time >= middle for time in times)
    best = progress.find_best()
    assert best.number == rank_trials(list(trials.values()))[0]
    (run,) = reader.runs()
    assert progress.find_first_start([run.uid]) == min(attempt.started_at for attempt in reader.attempts())
    assert progress.find_first_start(["another"]) is None


def test_a_study_without_trials(database_url):
    record_study(database_url, "other")
    engine = make_engine(database_url)
    progress = ProgressReader(engine, "no such study")
    assert progress.count_trials().ended == progress.count_trials().searched == 0
    assert progress.find_running() == progress.find_last_ended(5) == []
    assert progress.find_best() is None
    assert progress.count_ended_since(datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)) == 0
    engine.dispose()
