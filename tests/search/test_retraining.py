"""The best candidates trained again, on all labelled data and to the end."""

import optuna
import pytest
from searching import MakeStudy, StopAfter, comparable, open_reader, read_weights

from flatselect.config import StudyConfig
from flatselect.records import EpochMeasurement, Prediction, TrialRecord, TrialState
from flatselect.search.retraining import choose_retraining, enqueue_retraining
from flatselect.search.run import run_search
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE


def make_trial(number: int, score: float, state: TrialState = "COMPLETE", **options: object) -> TrialRecord:
    prediction = Prediction(1 - score, (0.9 - score, 1.1 - score), score, (score - 0.1, score + 0.1))
    measurement = EpochMeasurement(1, 1.0, 0.1, 100, 10, 5.0)
    return TrialRecord(number, state, {}, measurement=measurement, prediction=prediction, **options)  # type: ignore[arg-type]


def test_of_the_best_those_are_chosen_that_lack_images_or_epochs() -> None:
    trials = [
        make_trial(0, 0.9, is_calibration=True),
        make_trial(1, 0.8),
        make_trial(2, 0.7, "PRUNED"),
        make_trial(3, 0.6, is_calibration=True),
    ]
    assert choose_retraining(trials, 0) == []
    assert choose_retraining(trials, 1) == [0]
    assert choose_retraining(trials, 3) == [0, 2]
    assert choose_retraining(trials, 9) == [0, 2, 3]


@pytest.mark.parametrize("state", ["COMPLETE", "FAIL", "RUNNING"])
def test_none_is_trained_again_twice_and_the_choice_stands(state: TrialState) -> None:
    trials = [make_trial(0, 0.9, is_calibration=True), make_trial(1, 0.8, is_calibration=True)]
    again = make_trial(2, 0.1, state, retrains=0)
    assert choose_retraining([*trials, again], 1) == []
    assert choose_retraining([*trials, again], 2) == [1]


def test_what_a_dead_run_left_waiting_is_not_enqueued_twice() -> None:
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(value=1.0))
    enqueue_retraining(study, [0])
    enqueue_retraining(study, [0])
    waiting = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.WAITING]
    assert [trial.user_attrs for trial in waiting] == [{RETRAINS_ATTRIBUTE: 0}]


@pytest.fixture
def config(make_study: MakeStudy) -> StudyConfig:
    return make_study("study.retrain_top=8")


def test_retrained_trials_have_the_same_candidate_and_all_the_data(config: StudyConfig) -> None:
    result = run_search(config)
    trials = {trial.number: trial for trial in result.trials}
    again = [trial for trial in result.trials if trial.retrains is not None]
    lacking = [t.number for t in result.trials if t.retrains is None and (t.is_calibration or t.state == "PRUNED")]
    assert sorted(trial.retrains for trial in again if trial.retrains is not None) == lacking
    assert len(lacking) >= 4
    assert [trial.number for trial in again] == list(range(8, 8 + len(lacking)))
    for trial in again:
        assert trial.retrains is not None
        original = trials[trial.retrains]
        assert trial.state == "COMPLETE"
        assert trial.params == original.params
        assert trial.model == original.model
        assert not trial.is_calibration
        assert trial.epochs == 3
        assert trial.measurement is not None
        assert trial.measurement.n_train_images == 150
        assert trial.prediction is not None
        assert trial.audit_test_score is not None
        assert trial.to_json()["retrains"] == trial.retrains
    assert set(result.ranking).isdisjoint(lacking)
    assert set(result.ranking) >= {trial.number for trial in again}


def test_a_finished_search_trains_nothing_again_and_more_trials_can_be_added(
    config: StudyConfig, make_study: MakeStudy
) -> None:
    first = run_search(config)
    assert comparable(run_search(config)) == comparable(first)
    more = run_search(make_study("study.retrain_top=8", "study.trials=10"))
    assert sum(trial.retrains is None for trial in more.trials) == 10
    assert comparable(more)[: len(first.trials)] == comparable(first)


@pytest.mark.parametrize("n_epochs", [1, 4, 8])
def test_interrupted_while_training_again_it_goes_on_bit_for_bit(make_study: MakeStudy, n_epochs: int) -> None:
    options = ("study.retrain_top=8",)
    undisturbed = run_search(make_study(*options, folder="undisturbed"))
    config = make_study(*options)
    run_search(make_study())
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(n_epochs))
    result = run_search(config)
    assert comparable(result, "attempts") == comparable(undisturbed, "attempts")
    weights, expected = (read_weights(open_reader(r.storage)) for r in (result, undisturbed))
    assert weights.keys() == expected.keys()
    for number, state in weights.items():
        assert all(bool((state[name] == expected[number][name]).all()) for name in state)


def test_a_time_limit_holds_for_retraining_too(make_study: MakeStudy) -> None:
    run_search(make_study())
    result = run_search(make_study("study.retrain_top=8", "study.timeout=1e-9"))
    assert all(trial.retrains is None for trial in result.trials)
