import math
import time
import warnings

import optuna
import pytest
from optuna.trial import TrialState

from flatselect.pruning import CALIBRATION_ATTRIBUTE, INTERVAL_ATTRIBUTE, FlatnessPruner

optuna.logging.set_verbosity(optuna.logging.WARNING)


def add_trial(study, values, *, interval=None, is_calibration=False, state=TrialState.COMPLETE):
    attributes = {INTERVAL_ATTRIBUTE: interval} if interval else {}
    if is_calibration:
        attributes[CALIBRATION_ATTRIBUTE] = True
    reports = dict(enumerate(values, 1)) if isinstance(values, list) else values
    value = list(reports.values())[-1] if state == TrialState.COMPLETE else None
    study.add_trial(
        optuna.trial.create_trial(value=value, intermediate_values=reports, user_attrs=attributes, state=state)
    )
    return study.get_trials(deepcopy=False)[-1]


def make_study(*curves, direction="maximize"):
    study = optuna.create_study(direction=direction)
    for curve in curves:
        add_trial(study, curve)
    return study


def explain(study, values, interval=None, **options):
    trial = add_trial(study, values, interval=interval, state=TrialState.RUNNING)
    return FlatnessPruner(**options).explain(study, trial)


CURVES = [[0.3, 0.5, 0.6, 0.7], [0.4, 0.6, 0.7, 0.8], [0.5, 0.7, 0.8, 0.9], [0.2, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4]]


def test_prunes_below_the_upper_quartile_of_finished_trials_at_the_same_epoch():
    study = make_study(*CURVES)
    assert explain(study, [0.9, 0.9, 0.69]) == (
        "epoch 3: upper bound 0.69 < 0.7, the upper quartile of the finished trials there (trial 1)"
    )
    assert explain(study, [0.0, 0.0, 0.7]) is None


@pytest.mark.parametrize(("reference", "needed"), [("median", 0.6), ("upper_quartile", 0.7), ("best", 0.8)])
def test_references(reference, needed):
    study = make_study(*CURVES)
    assert explain(study, [0.5, 0.5, needed - 0.001], reference=reference) is not None
    assert explain(study, [0.5, 0.5, needed], reference=reference) is None


def test_the_upper_end_of_the_interval_is_what_counts():
    study = make_study(*CURVES)
    assert explain(study, [0.5, 0.5, 0.5], interval=[0.3, 0.71]) is None
    assert "upper bound 0.69 <" in explain(study, [0.5, 0.5, 0.5], interval=[0.3, 0.69])


def test_minimising_is_the_mirror():
    losses = [[1 - value for value in curve] for curve in CURVES]
    study = make_study(*losses, direction="minimize")
    assert explain(study, [0.5, 0.5, 0.31]) == (
        "epoch 3: lower bound 0.31 > 0.3, the upper quartile of the finished trials there (trial 1)"
    )
    assert explain(study, [0.5, 0.5, 0.29]) is None
    assert explain(study, [0.5, 0.5, 0.5], interval=[0.29, 0.8]) is None
    assert explain(study, [0.5, 0.5, 0.5], interval=[0.31, 0.8]) is not None


def test_margin():
    study = make_study(*CURVES)
    assert explain(study, [0.5, 0.5, 0.66], margin=0.05) is None
    assert "0.64 < 0.7 by more than 0.05" in explain(study, [0.5, 0.5, 0.64], margin=0.05)


def test_warmup_epochs_and_startup_trials():
    study = make_study(*CURVES)
    assert explain(study, [0.0, 0.0]) is None
    assert explain(study, [0.0, 0.0], warmup_epochs=1) is not None
    assert explain(study, [0.0, 0.0, 0.0], startup_trials=6) is None
    assert explain(study, [0.0, 0.0, 0.0], startup_trials=5) is not None
    assert explain(make_study(), [0.0, 0.0, 0.0], startup_trials=0) is None


def test_patience_asks_for_reports_in_a_row():
    study = make_study(*CURVES)
    assert explain(study, [0.0, 0.6, 0.0], patience=2) is None
    assert explain(study, [0.0, 0.5, 0.0], patience=2) is not None
    assert explain(study, {3: 0.0}, patience=2) is None
    # The latest report's distance to its upper end, 0.2, holds for the one before: 0.35 + 0.2 < 0.6, 0.45 + 0.2 is not.
    assert explain(study, [0.0, 0.35, 0.4], interval=[0.2, 0.6], patience=2) is not None
    assert explain(study, [0.0, 0.45, 0.4], interval=[0.2, 0.6], patience=2) is None


def test_a_trial_that_ended_early_counts_with_its_last_report():
    study = make_study(*[[0.5, 0.9]] * 4)
    assert "0.8 < 0.9" in explain(study, {1: 0.5, 7: 0.8})


def test_trials_that_say_nothing_at_that_epoch_are_left_out():
    study = make_study(*[{5: 0.9}] * 4)
    assert explain(study, [0.0, 0.0, 0.0]) is None
    study = make_study(*[{3: math.nan, 4: 0.9}] * 3, *CURVES)
    assert "< 0.7, the upper quartile of the finished trials there (trial 4)" in explain(study, [0.0, 0.0, 0.0])


def test_pruned_and_failed_trials_are_no_reference():
    study = optuna.create_study(direction="maximize")
    for state in (TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING):
        for _ in range(4):
            add_trial(study, [0.9, 0.9, 0.9], state=state)
    assert explain(study, [0.0, 0.0, 0.0]) is None


def test_calibration_trials_are_never_pruned_but_others_are_compared_with_them():
    study = optuna.create_study(direction="maximize")
    for _ in range(4):
        add_trial(study, [0.8, 0.8, 0.8], is_calibration=True)
    trial = add_trial(study, [0.0, 0.0, math.nan], is_calibration=True, state=TrialState.RUNNING)
    assert not FlatnessPruner().prune(study, trial)
    assert explain(study, [0.0, 0.0, 0.0]) is not None


def test_nan_is_pruned_at_once():
    assert explain(optuna.create_study(direction="maximize"), [math.nan]) == "epoch 1: NaN was reported"


def test_a_trial_without_reports_goes_on():
    assert explain(make_study(*CURVES), {}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"startup_trials": -1}, "startup_trials = -1; expected a number of at least 0"),
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"patience": 0}, "patience = 0; expected a number of at least 1"),
        ({"margin": math.nan}, "margin = nan"),
        ({"reference": "worst"}, "reference = 'worst'; expected one of median, upper_quartile, best"),
    ],
)
def test_refuses_senseless_options(options, message):
    with pytest.raises(ValueError, match=message):
        FlatnessPruner(**options)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_works_in_a_study_of_ones_own(tmp_path, storage):
    """A user's objective: the better half of the trials ends, the hopeless ones stop after the warm-up."""
    url = None if storage == "memory" else f"sqlite:///{tmp_path / 'study.db'}"

    def objective(trial):
        quality = trial.suggest_float("quality", 0, 1)
        for epoch in range(1, 11):
            score = quality * (1 - 0.5**epoch)
            trial.set_user_attr(INTERVAL_ATTRIBUTE, [score - 0.1, score + 0.1])
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    with warnings.catch_warnings():
        # Optuna's own connections are closed by the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        study = optuna.create_study(storage=url, direction="maximize", pruner=FlatnessPruner())
        for quality in (0.5, 0.6, 0.7, 0.8, 0.75, 0.65, 0.1, 0.55, 0.9, 0.2):
            study.enqueue_trial({"quality": quality})
        study.optimize(objective, n_trials=10)
        ends = {t.params["quality"]: (t.state, len(t.intermediate_values)) for t in study.trials}
    assert ends[0.1] == ends[0.2] == (TrialState.PRUNED, 3)
    assert ends[0.55][0] == TrialState.PRUNED
    assert all(ends[quality] == (TrialState.COMPLETE, 10) for quality in (0.5, 0.6, 0.7, 0.8, 0.75, 0.9))
    assert study.best_params == {"quality": 0.9}


def test_two_thousand_finished_trials_cost_a_few_milliseconds():
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(value=0.9, intermediate_values={e: 0.9 - 0.5 / e for e in range(1, 21)})
            for _ in range(2000)
        ]
    )
    trial = add_trial(study, [0.0] * 10, state=TrialState.RUNNING)
    pruner, times = FlatnessPruner(), []
    for _ in range(5):
        start = time.perf_counter()
        assert pruner.prune(study, trial)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
