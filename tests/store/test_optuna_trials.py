"""What is read of Optuna's trials is what Optuna reads of them."""

import math
import uuid
from datetime import UTC

import optuna
import pytest

from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.optuna_trials import FAILURE_ATTRIBUTE, RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE, UID_ATTRIBUTE
from flatselect.store.study_reader import StudyReader

CHOICES = ["", "None", "1", 'a "b"\u2603\\', "true", None, True, False, 0, 7, -3, 10**15, 0.1, 1e-300, 2.0, math.inf]


@pytest.fixture
def study(database_url):
    storage = make_optuna_storage(database_url)
    optuna.create_study(study_name="another", storage=storage).ask(
        {"rate": optuna.distributions.FloatDistribution(0, 1)}
    )
    study = optuna.create_study(study_name="digits", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    yield study
    close_optuna_storage(storage)


@pytest.fixture
def reader(study, database_url):
    reader = StudyReader(make_engine(database_url), study.user_attrs[UID_ATTRIBUTE])
    yield reader
    reader.close()


def suggest(trial):
    trial.suggest_float("rate", 1e-9, 1.0, log=True)
    trial.suggest_float("momentum", -1, 1)
    trial.suggest_float("dropout", 0.0, 0.7, step=0.1)
    trial.suggest_int("width", 2, 2**40, log=True)
    trial.suggest_int("depth", -9, 9, step=3)
    trial.suggest_categorical("block", CHOICES)
    if trial.number % 2:
        trial.suggest_categorical("first", [False, True])


def describe(params):
    """Every bit, every type, and the order: 1, 1.0 and True are equal."""
    return [(name, type(value), value.hex() if isinstance(value, float) else value) for name, value in params.items()]


def test_parameters_are_optunas_to_the_bit(study, reader):
    for _ in range(60):
        suggest(study.ask())
    trials = reader.optuna_trials()
    expected = study.get_trials()
    assert [describe(trial.params) for trial in trials] == [describe(trial.params) for trial in expected]
    assert {type(trial.params["block"]) for trial in trials} == {str, type(None), bool, int, float}
    assert [(t.number, t.trial_id, t.state) for t in trials] == [
        (t.number, t._trial_id, t.state.name) for t in expected
    ]


def test_distributions_are_optunas(study, reader):
    assert reader.distributions() == {}
    for _ in range(3):
        suggest(study.ask())
    expected = study.trials[1].distributions
    assert reader.distributions() == expected
    assert list(reader.distributions()) == list(expected)


def test_what_is_known_of_trials_that_were_queued_or_failed(study, reader):
    study.ask()
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    study.enqueue_trial({"rate": 0.5, "block": None}, user_attrs={RETRIES_ATTRIBUTE: 0, RETRAINS_ATTRIBUTE: 3})
    study.enqueue_trial({}, user_attrs={FAILURE_ATTRIBUTE: 'bad "news"\n\u2603', "of somebody else": 1})
    failed, retry, other = reader.optuna_trials()
    assert (failed.state, failed.params, failed.queued_params, failed.failure) == ("FAIL", {}, {}, None)
    assert (retry.state, retry.queued_params, retry.started_at) == ("WAITING", {"rate": 0.5, "block": None}, None)
    assert (retry.retries, retry.retrains) == (0, 3)
    assert (other.failure, other.retries, other.queued_params) == ('bad "news"\n\u2603', None, {})
    started = study.trials[0].datetime_start.astimezone(UTC)
    assert failed.started_at == started.replace(tzinfo=None)


def test_of_a_study_and_its_copy_the_first_is_read(study, reader):
    suggest(study.ask())
    storage = study._storage
    optuna.copy_study(from_study_name="digits", from_storage=storage, to_storage=storage, to_study_name="copy")
    study.ask()
    assert [trial.trial_id for trial in reader.optuna_trials()] == [trial._trial_id for trial in study.trials]
