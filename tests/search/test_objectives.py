"""Searches that minimise costs beside maximising the predicted test score."""

from contextlib import closing

import optuna
import pytest
from searching import MakeStudy, StopAfter, comparable, open_reader

from flatselect.config import StudyConfig
from flatselect.errors import ConfigError, SearchError
from flatselect.models.factories import build_model, count_parameters
from flatselect.pruning import PRUNED_ATTRIBUTE
from flatselect.ranking import find_pareto_front
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search
from flatselect.search.telling import list_directions, name_metrics
from flatselect.search_space import make_candidate

PARETO = ("study.minimize=['parameters']", "study.sampler=nsga2", "study.population=4", "study.trials=12")


def load_study(result: SearchResult) -> optuna.Study:
    return optuna.load_study(study_name=result.study, storage=result.storage)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random", "gp"])
def test_every_sampler_searches_for_small_networks_too(make_study: MakeStudy, sampler: str) -> None:
    population = ["study.population=4"] if sampler == "nsga2" else []
    config = make_study("study.minimize=['parameters']", f"study.sampler={sampler}", *population)
    result = run_search(config)
    study = load_study(result)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["predicted test score", "parameters"]
    by_number = {trial.number: trial for trial in study.trials}
    complete = [trial for trial in result.trials if trial.state == "COMPLETE"]
    assert len(complete) >= 4
    for trial in complete:
        candidate = make_candidate(config, trial.params)
        n_parameters = count_parameters(build_model(candidate.model, candidate.model_args, (1, 8, 8), 10))
        score = by_number[trial.number].values[0]
        assert by_number[trial.number].values[1] == n_parameters == trial.to_json()["n_parameters"]
        assert trial.measurement is not None
        assert trial.prediction is not None
        expected = trial.measurement.holdout_score if trial.is_calibration else trial.prediction.predicted_test_score
        assert score == expected
    assert result.pareto_front == find_pareto_front(result.trials, ["parameters"])
    assert result.to_json()["pareto_front"] == result.pareto_front
    assert result.pareto_front


def test_one_objective_has_no_front(undisturbed: tuple[StudyConfig, SearchResult]) -> None:
    _, result = undisturbed
    assert result.pareto_front is None
    assert load_study(result).metric_names == ["predicted test score"]
    assert all(trial.to_json()["latency_ms"] is None for trial in result.trials)


def test_only_what_a_finished_trial_dominates_is_pruned(make_study: MakeStudy) -> None:
    config = make_study(
        "study.minimize=['parameters']", "study.sampler=random", "study.trials=24", "training.epochs=4",
        "pruner.confidence=0.5",
    )  # fmt: skip
    result = run_search(config)
    study = load_study(result)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert pruned, "the study is made so that some are"
    sizes = {trial.number: trial.to_json()["n_parameters"] for trial in result.trials}
    for trial in pruned:
        reason = trial.user_attrs[PRUNED_ATTRIBUTE]
        assert "as good in all other objectives" in reason
        rival = int(reason.rpartition("(trial ")[2].removesuffix(")"))
        assert sizes[rival] <= sizes[trial.number]


def test_interrupted_it_goes_on_as_if_it_had_not_been(make_study: MakeStudy) -> None:
    undisturbed = run_search(make_study(*PARETO, folder="undisturbed"))
    config = make_study(*PARETO)
    for n_epochs in (5, 9, 11):
        with pytest.raises(KeyboardInterrupt):
            run_search(config, StopAfter(n_epochs))
    assert comparable(run_search(config), "attempts") == comparable(undisturbed, "attempts")


def test_latency_is_measured_once_a_trial(make_study: MakeStudy) -> None:
    result = run_search(make_study("study.minimize=['latency']", "measure.latency_batch_size=4"))
    with closing(open_reader(result.storage)) as reader:
        curves = reader.measurements()
    for trial in result.trials:
        (latency,) = {measurement.latency_ms for measurement in curves[trial.number]}
        assert latency is not None
        assert latency > 0
        assert trial.to_json()["latency_ms"] == latency
    values = {trial.number: trial.values for trial in load_study(result).trials if trial.values is not None}
    assert all(values[t.number][1] == t.to_json()["latency_ms"] for t in result.trials if t.number in values)


def test_the_objectives_of_a_study_do_not_change(make_study: MakeStudy) -> None:
    run_search(make_study("study.trials=4"))
    with pytest.raises(SearchError, match=r"study.minimize: was \[\], is \['parameters'\]"):
        run_search(make_study("study.minimize=['parameters']"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["study.minimize=['size']"], "study.minimize.0 = 'size': should be 'parameters' or 'latency'"),
        (["study.minimize=['latency','latency']"], "names a cost twice"),
        (["study.minimize=['latency']", "pruner.name=median"], "pruner.name = 'median': cannot prune"),
        (["study.minimize=['latency']", "study.stop_improvement=0.1"], "is for one objective"),
        (["study.population=8"], 'study.population = 8: goes with study.sampler = "nsga2" only'),
        (["measure.latency_batch_size=8"], "measure.latency_batch_size = 8: goes with study.minimize"),
        (["study.stop_improvement=0"], "greater than 0"),
        (["study.retrain_top=-1"], "greater than or equal to 0"),
    ],
)
def test_what_does_not_go_together_is_refused(make_study: MakeStudy, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_study(*[o for o in overrides if "pruner" not in o], text=make_text(overrides))
    assert message in str(caught.value)


def make_text(overrides: list[str]) -> str:
    """A short study; the pruner's own keys would be mistakes of their own beside another pruner."""
    pruner = '[pruner]\nname = "median"\n' if any("pruner" in o for o in overrides) else ""
    return f'[study]\nname = "short"\n[data]\ntrain = "digits"\n[search_space]\nwidth = 4\n{pruner}'


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")
def test_objectives_that_a_user_has_named_keep_their_names(make_study: MakeStudy) -> None:
    config = make_study()
    study = optuna.create_study(
        study_name=config.study.name, storage=config.study.storage, directions=list_directions(config.study)
    )
    study.set_metric_names(["mine"])
    name_metrics(study, config.study)
    assert study.metric_names == ["mine"]
