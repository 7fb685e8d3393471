"""Every chart of a study shows what the database holds: computed here in another way."""

import dataclasses
import math
import sqlite3
from contextlib import closing

import numpy as np
import optuna
import pandas as pd
import pytest
from written_study import N_CALIBRATION, N_EPOCHS

from flatselect.ranking import rank_trials
from flatselect.report.chart import Absence, thin
from flatselect.report.plotly_chart import make_plotly_chart
from flatselect.report.pruning import compute_cost, list_pruned
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_contents import Detail, StudyContents


@pytest.fixture(scope="session")
def tables(study_path):
    """The database's own tables."""
    with closing(sqlite3.connect(study_path)) as connection:
        return {
            name: pd.read_sql(f"SELECT * FROM flatselect_{name}", connection)
            for name in ("measurements", "predictions", "audits", "attempts")
        }


@pytest.fixture(scope="session")
def last(tables):
    """Each trial's last epoch: measured, predicted and audited, by number."""
    joined = tables["measurements"].merge(tables["predictions"], on=["trial_number", "epoch"])
    joined = joined.sort_values("epoch").groupby("trial_number").tail(1).set_index("trial_number").sort_index()
    return joined.join(tables["audits"].set_index("trial_number")["score"].rename("audit"))


def find(chart, name):
    (series,) = [series for series in chart.series if series.name.startswith(name)]
    return series


def make_empty(**changes):
    empty = StudyContents("none", "sqlite://", {}, {}, {}, (), None, {}, (), {}, {}, None)
    return dataclasses.replace(empty, **changes)


@pytest.mark.parametrize("kind", CHARTS)
def test_has_data_and_no_more_places_than_it_says(kind, contents):
    chart = CHARTS[kind](contents)
    assert chart.kind == kind
    for series in chart.series:
        n = len(series.x)
        assert n == len(series.y) > 0
        for each in (series.x_intervals, series.y_intervals, series.is_hollow, series.texts, series.trials):
            assert len(each) in (0, n)
        assert any(x is not None and y is not None for x, y in zip(series.x, series.y, strict=True))


@pytest.mark.parametrize("kind", CHARTS)
def test_without_data_says_why_in_a_sentence(kind):
    absence = CHARTS[kind](make_empty())
    assert isinstance(absence, Absence)
    assert absence.reason.endswith(".")
    assert absence.kind == kind


def test_of_long_curves_some_epochs_are_drawn_where_little_is_asked_for(contents):
    full, short = (
        CHARTS["learning"](dataclasses.replace(contents, detail=Detail(curve_epochs=most))) for most in (None, 3)
    )
    drawn = {form: find(chart, "complete") for form, chart in (("full", full), ("short", short))}
    assert list(drawn["full"].x)[:7] == [1, 2, 3, 4, 5, 6, None]
    assert list(drawn["short"].x)[:4] == [1, 3, 6, None]
    known = set(zip(drawn["full"].texts, drawn["full"].x, drawn["full"].y, strict=True))
    assert set(zip(drawn["short"].texts, drawn["short"].x, drawn["short"].y, strict=True)) < known
    assert find(short, "pruned here") == find(full, "pruned here")
    assert (full.caption, short.caption) == ("", "At most 3 epochs of each, evenly.")


def test_reasons_say_what_the_study_left_out(contents):
    unaudited = {n: dataclasses.replace(trial, audit_test_score=None) for n, trial in contents.trials.items()}
    without_audit = dataclasses.replace(contents, config={**contents.config, "data": {}}, trials=unaudited)
    assert "names no audit set" in CHARTS["audit"](without_audit).reason
    assert "Nothing is audited yet" in CHARTS["audit"](dataclasses.replace(contents, trials=unaudited)).reason
    assert "pruner.name = none" in CHARTS["pruned"](make_empty(config={"pruner": {"name": "none"}})).reason
    stock = {n: dataclasses.replace(a, pruned_because=None) for n, a in contents.attempts.items()}
    assert "only the flatness pruner" in CHARTS["pruned"](dataclasses.replace(contents, attempts=stock)).reason


def test_ranking_is_the_searchs_with_intervals_of_the_latest_predictions(contents, last):
    chart = CHARTS["ranking"](contents)
    order = rank_trials(list(contents.trials.values()))
    assert chart.y.labels == tuple(f"{place}  trial {number}" for place, number in enumerate(order, 1))
    predicted = find(chart, "predicted")
    np.testing.assert_array_equal(predicted.x, last.loc[order, "score"])
    np.testing.assert_array_equal(predicted.x_intervals, last.loc[order, ["score_low", "score_high"]])
    assert list(predicted.x) == sorted(predicted.x, reverse=True)
    np.testing.assert_array_equal(find(chart, "training").x, last.loc[order, "train_score"])
    np.testing.assert_array_equal(find(chart, "audited").x, last.loc[order, "audit"])


def test_pareto_joins_the_trials_that_no_other_beats_in_score_and_size(contents, last):
    chart = CHARTS["pareto"](contents)
    ranked = last.loc[list(contents.ranking)]
    front = [
        (row.n_parameters, row.score)
        for _, row in ranked.iterrows()
        if not any(
            other.score >= row.score
            and other.n_parameters <= row.n_parameters
            and (other.score, other.n_parameters) != (row.score, row.n_parameters)
            for _, other in ranked.iterrows()
        )
    ]
    line, others, on_front = chart.series
    assert sorted(front) == list(zip(on_front.x, on_front.y, strict=True)) == list(zip(line.x, line.y, strict=True))
    assert len(others.x) + len(front) == len(ranked)
    assert chart.x.is_log
    study = contents.config["study"]
    both = dataclasses.replace(contents, config={"study": {**study, "minimize": ["parameters", "latency"]}})
    drawn = CHARTS["pareto"](both)
    assert "of 3 objectives" in drawn.caption
    assert not any(series.form == "line" for series in drawn.series)
    one = dataclasses.replace(contents, config={"study": {**study, "minimize": []}})
    assert "one objective" in CHARTS["pareto"](one).reason


def test_audit_shows_each_audited_trial_and_counts_what_intervals_hold(contents, last):
    chart = CHARTS["audit"](contents)
    points = {
        trial: (x, y) for series in chart.series for trial, x, y in zip(series.trials, series.x, series.y, strict=False)
    }
    assert points == {number: (row.audit, row.score) for number, row in last.iterrows()}
    error = (last["score"] - last["audit"]).abs().mean()
    rank = last["score"].rank().corr(last["audit"].rank())
    inside = last["audit"].between(last["score_low"], last["score_high"]).sum()
    assert f"error {error:.4f}, rank correlation {rank:.2f}; {inside} of {len(last)} intervals" in chart.caption


def test_gap_is_measured_where_held_out_and_predicted_elsewhere(contents, last):
    chart = CHARTS["gap"](contents)
    measured, predicted = find(chart, "gap measured"), find(chart, "gap predicted")
    calibration = last.loc[: N_CALIBRATION - 1]
    np.testing.assert_allclose(measured.y, calibration["train_score"] - calibration["holdout_score"])
    np.testing.assert_array_equal(predicted.y, last.loc[N_CALIBRATION:, "gap"])
    flatness = [*measured.x, *predicted.x]
    np.testing.assert_array_equal(flatness, last["relative_gap_flatness"])
    assert chart.x.is_log


def test_points_are_coloured_by_each_parameter(contents):
    colorings = CHARTS["gap"](contents).colorings
    assert set(colorings) == {"learning_rate", "width", "block", "momentum"}
    rates = colorings["learning_rate"]
    assert rates.is_log
    assert rates.values == {number: trial.params["learning_rate"] for number, trial in contents.trials.items()}
    block = colorings["block"]
    assert {block.labels[int(value)] for value in block.values.values()} == {"plain", "residual"}
    for number, value in block.values.items():
        assert contents.trials[number].params["block"] == block.labels[int(value)]
    # A parameter that a trial does not have leaves it without a colour.
    assert set(colorings["momentum"].values) == {n for n, t in contents.trials.items() if "momentum" in t.params}


@pytest.mark.parametrize(("kind", "column"), [("learning", "train_score"), ("flatness", "relative_gap_flatness")])
def test_curves_have_every_epoch_and_the_pruned_end_marked(kind, column, contents, tables):
    chart = CHARTS[kind](contents)
    lines = [series for series in chart.series if series.form == "line"]
    drawn = sorted(value for series in lines for value in series.y if value is not None)
    np.testing.assert_array_equal(drawn, sorted(tables["measurements"][column]))
    ends = tables["measurements"].groupby("trial_number").tail(1).set_index("trial_number")
    pruned = tables["attempts"].query("outcome == 'pruned'")["trial_number"]
    assert len(pruned) > 1
    np.testing.assert_array_equal(find(chart, "pruned here").x, ends.loc[pruned, "epoch"])
    np.testing.assert_array_equal(find(chart, "pruned here").y, ends.loc[pruned, column])


@pytest.mark.filterwarnings("ignore:Some regimes for parameter")  # few trials
def test_importance_is_optunas(contents, study_path):
    chart = CHARTS["importance"](contents)
    stored = optuna.load_study(study_name=None, storage=f"sqlite:///{study_path}").get_trials()
    study = optuna.create_study(direction="maximize")
    for trial in contents.trials.values():
        if trial.state == "COMPLETE":
            study.add_trial(
                optuna.trial.create_trial(
                    params=trial.params,
                    distributions=stored[trial.number].distributions,
                    value=trial.prediction.predicted_test_score,
                )
            )
    expected = optuna.importance.get_param_importances(study)
    (bars,) = chart.series
    assert dict(zip(chart.y.labels, bars.x, strict=True)) == pytest.approx(expected)
    assert list(bars.x) == sorted(bars.x, reverse=True)


def test_parallel_has_a_line_for_each_ranked_trial(contents):
    chart = CHARTS["parallel"](contents)
    axes = chart.x.labels
    assert axes[-1] == "predicted test score"
    lines = []
    for series in chart.series:
        for start in range(0, len(series.x), len(axes) + 1):
            lines.append(dict(zip(axes, series.y[start : start + len(axes)], strict=True)))
    assert len(lines) == len(contents.ranking)
    scores = [line["predicted test score"] for line in lines]
    assert scores == sorted(scores)  # from the lowest fifth to the highest
    assert (scores[0], scores[-1]) == (0, 1)
    best = contents.trials[contents.ranking[0]]
    logs = [math.log(trial.params["learning_rate"]) for trial in contents.trials.values()]
    place = (math.log(best.params["learning_rate"]) - min(logs)) / (max(logs) - min(logs))
    assert lines[-1]["learning_rate"] == pytest.approx(place)


def test_pruned_trials_have_the_numbers_of_the_pruners_words(contents, tables):
    found = {one.trial.number: one for one in list_pruned(contents)}
    attempts = tables["attempts"].query("outcome == 'pruned'").set_index("trial_number")
    assert set(found) == set(attempts.index)
    for number, one in found.items():
        # As the real pruner has written them: were its words to change, nothing would be read from them.
        assert f"upper bound {one.bound:.4g} of" in one.reason == attempts.loc[number, "pruned_because"]
        assert f"< {one.needed:.4g}, the best" in one.reason
        assert one.bound < one.needed
        assert (one.epoch, one.planned_epochs) == (contents.trials[number].epochs, N_EPOCHS)
    chart = CHARTS["pruned"](contents)
    short = np.subtract(find(chart, "needed").x, find(chart, "upper bound").x)
    assert len(short) == len(found)
    assert list(short) == sorted(short)


def test_cost_is_the_sum_of_all_epochs(contents, tables):
    cost = compute_cost(contents)
    measurements = tables["measurements"]
    assert cost.epochs == len(measurements)
    assert cost.seconds == pytest.approx((measurements["train_seconds"] + measurements["measure_seconds"]).sum())
    pruned = tables["attempts"].query("outcome == 'pruned'")["trial_number"]
    trained = measurements[measurements["trial_number"].isin(pruned)]
    assert cost.saved_epochs == N_EPOCHS * len(pruned) - len(trained) > 0
    assert cost.saved_seconds == pytest.approx(1.25 * cost.saved_epochs)
    assert cost.saved_share == pytest.approx(cost.saved_epochs / (cost.saved_epochs + len(measurements)))
    assert cost.gpus_per_trial == 0.5
    chart = CHARTS["cost"](contents)
    assert sum(find(chart, "trained").x) == cost.epochs
    assert sum(find(chart, "saved").x) == cost.saved_epochs


def test_ten_thousand_trials_are_thinned_and_the_charts_say_so(contents):
    model = contents.trials[contents.ranking[0]]
    trials = {
        number: dataclasses.replace(model, number=number, params={"learning_rate": 0.002 + number / 200_000})
        for number in range(10_000)
    }
    many = dataclasses.replace(contents, trials=trials, ranking=tuple(trials), curves={0: contents.curves[0]})
    for kind in ("audit", "gap", "ranking", "parallel", "learning"):
        chart = CHARTS[kind](many)
        assert "of 10,000" in chart.caption
        assert sum(len(series.x) for series in chart.series) < 5000
        assert len(str(make_plotly_chart(chart))) < 2_000_000


def test_thinning_is_even_and_keeps_both_ends():
    assert thin(3, 5) == [0, 1, 2]
    assert thin(11, 3) == [0, 5, 10]
    assert len(set(thin(10_000, 2000))) == 2000


def test_what_json_does_not_know_becomes_null(contents):
    chart = CHARTS["learning"](contents)
    broken = dataclasses.replace(chart.series[0], x=[1, 2, 3, 4], y=[math.nan, math.inf, None, 0.5], texts=())
    made = make_plotly_chart(dataclasses.replace(chart, series=(broken,)))
    assert made["data"][0]["y"] == [None, None, None, 0.5]
