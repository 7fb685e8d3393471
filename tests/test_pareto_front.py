"""The Pareto front of trials, against a search over all pairs and against Optuna's own."""

import numpy as np
import optuna
import pytest

from flatselect.ranking import find_pareto_front, rank_trials
from flatselect.records import LATENCY, EpochMeasurement, Prediction, TrialRecord, TrialState


def make_trial(
    number: int,
    score: float,
    n_parameters: int,
    latency: float = 1.0,
    state: TrialState = "COMPLETE",
    **options: object,
) -> TrialRecord:
    measurement = EpochMeasurement(3, 1.0, 0.1, 100, n_parameters, 5.0, companions={LATENCY: latency})
    prediction = Prediction(1 - score, (0.9 - score, 1.1 - score), score, (score - 0.1, score + 0.1))
    return TrialRecord(number, state, {}, measurement=measurement, prediction=prediction, **options)  # type: ignore[arg-type]


def test_what_another_trial_beats_is_not_on_the_front() -> None:
    trials = [make_trial(0, 0.9, 500), make_trial(1, 0.8, 500), make_trial(2, 0.8, 100), make_trial(3, 0.7, 100)]
    assert find_pareto_front(trials, ["parameters"]) == [0, 2]


def test_trials_that_are_equal_in_everything_are_all_on_it() -> None:
    assert find_pareto_front([make_trial(0, 0.9, 500), make_trial(1, 0.9, 500)], ["parameters"]) == [0, 1]


def test_each_cost_counts() -> None:
    trials = [make_trial(0, 0.9, 100, latency=5.0), make_trial(1, 0.8, 100, latency=1.0)]
    assert find_pareto_front(trials, ["parameters"]) == [0]
    assert find_pareto_front(trials, ["parameters", "latency"]) == [0, 1]


def test_failed_and_unpredicted_trials_are_not_on_it() -> None:
    failed = make_trial(0, 0.99, 1, state="FAIL")
    unpredicted = TrialRecord(1, "COMPLETE", {}, measurement=EpochMeasurement(1, 1.0, 0.1, 10, 1))
    assert find_pareto_front([failed, unpredicted, make_trial(2, 0.5, 900)], ["parameters"]) == [2]
    assert find_pareto_front([], ["parameters"]) == []


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_front_that_optuna_finds(seed: int) -> None:
    draw = np.random.default_rng(seed)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    trials = []
    for number in range(60):
        score, size, latency = draw.integers(1, 9) / 10, int(draw.integers(1, 9)), float(draw.integers(1, 9))
        trials.append(make_trial(number, score, size, latency))
        study.add_trial(optuna.create_trial(values=[score, size, latency]))
    front = find_pareto_front(trials, ["parameters", "latency"])
    assert sorted(front) == sorted(trial.number for trial in study.best_trials)
    assert front == [number for number in rank_trials(trials) if number in front]


def test_a_trial_that_was_trained_again_is_ranked_by_its_retraining_alone() -> None:
    trials = [make_trial(0, 0.95, 10), make_trial(1, 0.9, 10), make_trial(2, 0.8, 10, retrains=0)]
    assert rank_trials(trials) == [1, 2]
    running = make_trial(2, 0.8, 10, state="RUNNING", retrains=0)
    assert rank_trials([*trials[:2], running]) == [0, 1]
