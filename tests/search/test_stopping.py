"""The end of a search whose next trial is expected to gain too little."""

import numpy as np
import optuna
import pytest
from scipy.special import expit
from searching import MakeStudy

from flatselect.config import StudyConfig
from flatselect.records import Prediction
from flatselect.search.run import run_search
from flatselect.search.stopping import LEAST_TRIALS, ImprovementStop, estimate_improvement
from flatselect.search_space import suggest


def draw_params(config: StudyConfig, n: int, seed: int = 0) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(n):
        trial = study.ask()
        suggest(trial, config)
        drawn.append(trial.params)
    return drawn


def score_width(params: dict[str, object]) -> float:
    """Wider is better, and nothing else matters."""
    return float(expit(2 * (float(str(params["width"])) - 5)))


def test_where_all_widths_were_tried_little_is_left_to_gain(make_study: MakeStudy) -> None:
    config = make_study()
    params = draw_params(config, 60)
    assert {p["width"] for p in params} == set(range(2, 9))
    assert estimate_improvement(config, params, [score_width(p) for p in params], seed=0) < 0.003


def test_where_only_narrow_ones_were_tried_much_is(make_study: MakeStudy) -> None:
    config = make_study()
    params = [p for p in draw_params(config, 60) if p["width"] in (2, 3, 4)]
    assert len(params) >= LEAST_TRIALS
    assert estimate_improvement(config, params, [score_width(p) for p in params], seed=0) > 0.05


def test_it_is_close_to_what_one_more_trial_gains(make_study: MakeStudy) -> None:
    """The mean gain of the best of the untried candidates, known here, is within a factor of three on the whole."""
    config = make_study()
    noise = np.random.default_rng(0)
    pool = draw_params(config, 400, seed=9)
    estimates, gains = [], []
    for seed in range(6):
        params = [p for p in draw_params(config, 40, seed) if p["width"] <= 5][:12]  # type: ignore[operator]
        scores = [score_width(p) * (1 - 0.02 * noise.random()) for p in params]
        estimates.append(estimate_improvement(config, params, scores, seed=seed))
        gains.append(max(score_width(p) for p in pool) - max(score_width(p) for p in params))
    assert np.mean(gains) / 3 < np.mean(estimates) < np.mean(gains) * 3


def test_scores_at_the_bounds_and_all_alike_have_an_improvement(make_study: MakeStudy) -> None:
    config = make_study()
    params = draw_params(config, 12)
    for scores in ([1.0] * 12, [0.0] * 12, [0.0, 1.0] * 6):
        assert 0 <= estimate_improvement(config, params, scores, seed=0) < 1


def test_a_parameter_that_is_not_active_is_no_obstacle(make_study: MakeStudy) -> None:
    text = """
[study]
name = "conditional"
[data]
train = "digits"
[search_space]
optimizer = { type = "categorical", choices = ["sgd", "adam"] }
momentum = { type = "float", low = 0.8, high = 0.95, when = { optimizer = "sgd" } }
width = { type = "int", low = 4, high = 4 }
"""
    config = make_study(text=text)
    params = draw_params(config, 20)
    scores = [0.9 if p["optimizer"] == "sgd" else 0.5 for p in params]
    assert 0 <= estimate_improvement(config, params, scores, seed=0) < 0.1


def test_a_study_that_varies_nothing_has_nothing_to_gain(make_study: MakeStudy) -> None:
    text = '[study]\nname = "fixed"\n[data]\ntrain = "digits"\n[search_space]\nwidth = 4\n'
    assert estimate_improvement(make_study(text=text), [{}] * 12, [0.9] * 12, seed=0) == 0


def test_few_predictions_never_stop_a_search(make_study: MakeStudy) -> None:
    config = make_study("study.stop_improvement=0.9")
    stop = ImprovementStop(config)
    predicted = {n: Prediction(0.1, (0.0, 0.2), 0.9, (0.8, 1.0)) for n in range(LEAST_TRIALS)}
    params = dict(enumerate(draw_params(config, LEAST_TRIALS)))
    assert not stop.is_enough(params, {n: predicted[n] for n in range(LEAST_TRIALS - 1)})
    assert stop.is_enough(params, predicted)
    assert stop.because is not None
    assert "stop_improvement = 0.9" in stop.because
    assert not ImprovementStop(make_study(folder="other")).is_enough(params, predicted)


def test_a_search_stops_when_enough_is_reached_and_does_so_again(make_study: MakeStudy) -> None:
    config = make_study("study.trials=30", "study.stop_improvement=0.9", "data.audit_size=50")
    result = run_search(config)
    assert result.enough_because is not None
    assert result.stopped_because is None
    assert len(result.trials) == LEAST_TRIALS
    assert result.to_json()["enough_because"] == result.enough_because
    again = run_search(config)
    assert again.enough_because == result.enough_because
    assert len(again.trials) == len(result.trials)


@pytest.mark.parametrize("bound", ["1e-12"])
def test_a_search_that_may_still_gain_goes_on(make_study: MakeStudy, bound: str) -> None:
    result = run_search(make_study("study.trials=12", f"study.stop_improvement={bound}", "training.epochs=1"))
    assert result.enough_because is None
    assert len(result.trials) == 12
