import math
import warnings

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy import stats

from flatselect.pruning import CALIBRATION_ATTRIBUTE, INTERVAL_ATTRIBUTE, PRUNED_ATTRIBUTE, FlatnessPruner

optuna.logging.set_verbosity(optuna.logging.WARNING)


def add_trial(study, values, *, value=None, interval=None, is_calibration=False, state=TrialState.COMPLETE):
    attributes = {INTERVAL_ATTRIBUTE: interval} if interval else {}
    if is_calibration:
        attributes[CALIBRATION_ATTRIBUTE] = True
    reports = dict(enumerate(values, 1)) if isinstance(values, list) else values
    if state == TrialState.COMPLETE and value is None:
        value = list(reports.values())[-1]
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


def is_pruned(study, values, interval=None, **options):
    return explain(study, values, interval, **options) is not None


# What is reported at epoch 1 is half of what these trials end with, give or take 0.05 or less.
CURVES = [[0.30, 0.62], [0.40, 0.78], [0.45, 0.90], [0.20, 0.40], [0.10, 0.25], [0.35, 0.70]]


def find_bound(curves, value, confidence=0.7, half_width=0.0):
    """The upper end of the prediction interval, by the textbook's matrices."""
    X = np.array([[1.0, curve[0]] for curve in curves])
    y = np.array([curve[-1] for curve in curves])
    inverse = np.linalg.inv(X.T @ X)
    coefficients = inverse @ X.T @ y
    degrees = len(y) - 2
    variance = ((y - X @ coefficients) ** 2).sum() / degrees
    at = np.array([1.0, value])
    deviation = math.sqrt(variance * (1 + at @ inverse @ at) + (half_width / 1.645) ** 2)
    return at @ coefficients + stats.t.ppf(confidence, degrees) * deviation


@pytest.mark.parametrize("half_width", [0.0, 0.1])
@pytest.mark.parametrize("confidence", [0.5, 0.7, 0.9])
def test_the_bound_is_that_of_the_prediction_interval_of_the_final_value(confidence, half_width):
    study = make_study(*CURVES)
    interval = [0.0, 0.15 + half_width]
    short_by = 0.9 - find_bound(CURVES, 0.15, confidence, half_width)
    options = {"confidence": confidence}
    assert is_pruned(study, [0.15], interval, margin=short_by - 1e-9, **options)
    assert not is_pruned(study, [0.15], interval, margin=short_by + 1e-9, **options)


def test_the_bound_holds_as_often_as_its_confidence_says():
    generator = np.random.default_rng(0)
    n_draws, n_above = 300, 0
    for _ in range(n_draws):
        x = generator.normal(0.5, 0.1, size=9)
        final = 0.2 + 1.2 * x + generator.normal(0, 0.05, size=9)
        curves = np.column_stack([x, final]).tolist()
        n_above += find_bound(curves[:-1], x[-1], 0.8) < final[-1]
        short_by = max(final[:-1]) - find_bound(curves[:-1], x[-1], 0.8)
        if short_by > 1e-6:
            study = make_study(*curves[:-1])
            assert is_pruned(study, [x[-1]], confidence=0.8, margin=short_by - 1e-6)
    assert n_above / n_draws == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / n_draws))


def test_it_says_why():
    bound = find_bound(CURVES, 0.2)
    assert explain(make_study(*CURVES), [0.2]) == (
        f"epoch 1: upper bound {bound:.4g} of its predicted final value < 0.9, the best of the 6 finished trials "
        "(trial 2)"
    )
    assert "< 0.9 by more than 0.05, the best" in explain(make_study(*CURVES), [0.2], margin=0.05)


def test_an_epoch_that_says_nothing_of_the_end_prunes_nobody():
    """ "Best so far" would: the trial is behind every other."""
    says_nothing = [[0.1, 0.9], [0.9, 0.3], [0.5, 0.5], [0.3, 0.2], [0.7, 0.8]]
    assert not is_pruned(make_study(*says_nothing), [0.0], confidence=0.9)
    assert is_pruned(make_study(*CURVES), [0.0], confidence=0.9)


def test_to_be_ahead_is_never_held_against_a_trial():
    """Fitted freely, the line would fall: the trial ahead would be expected to end at 0.5, the one behind at 0.9."""
    falling = [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]]
    study = make_study(*falling)
    reasons = [explain(study, [value], confidence=0.5) for value in (0.0, 0.5)]
    assert all("upper bound 0.75 of" in reason for reason in reasons)


def test_trials_that_all_reported_the_same_are_told_apart_by_nothing():
    level = [[0.1, 0.9], [0.1, 0.8], [0.1, 0.7], [0.1, 0.6]]
    assert "upper bound 0.75 of" in explain(make_study(*level), [0.1], confidence=0.5)


def test_what_counts_at_an_epoch_is_the_mean_of_the_last_three_reports():
    curves = [[9.0, *([curve[0]] * 3), curve[1]] for curve in CURVES]
    smooth = explain(make_study(*curves), [-5.0, 0.2, 0.2, 0.2])
    jumping = explain(make_study(*curves), [5.0, 0.1, 0.2, 0.3])
    assert smooth == jumping == explain(make_study(*CURVES), [0.2]).replace("epoch 1", "epoch 4")


def test_it_learns_the_value_that_a_trial_ended_with_whatever_was_reported():
    """The objective may return what it never reported, even in another unit."""
    study = optuna.create_study(direction="maximize")
    for start, end in CURVES:
        add_trial(study, [start], value=100 * end)
    short_by = 100 * (0.9 - find_bound(CURVES, 0.2))
    assert is_pruned(study, [0.2], margin=short_by - 1e-6)
    assert not is_pruned(study, [0.2], margin=short_by + 1e-6)


@pytest.mark.parametrize(("reference", "needed"), [("median", 0.62), ("upper_quartile", 0.7), ("best", 0.9)])
def test_references(reference, needed):
    short_by = needed - find_bound(CURVES, 0.1)
    assert is_pruned(make_study(*CURVES), [0.1], reference=reference, margin=short_by - 1e-9)
    assert not is_pruned(make_study(*CURVES), [0.1], reference=reference, margin=short_by + 1e-9)


def test_a_trial_with_a_wide_interval_is_given_the_benefit_of_the_doubt():
    study = make_study(*CURVES)
    assert is_pruned(study, [0.2], interval=[0.1, 0.21])
    assert not is_pruned(study, [0.2], interval=[0.1, 2.0])
    assert is_pruned(study, [0.2], interval=[-2.0, 0.21])


@pytest.mark.parametrize("guess", [0.0, 0.2])
def test_a_finished_trial_whose_own_prediction_is_a_guess_does_not_set_the_bar(guess):
    """The distance to its lower end counts like the trial's own to its upper end; its upper end does not matter."""
    study = make_study(*CURVES[:2], *CURVES[3:])
    add_trial(study, CURVES[2], interval=[0.9 - guess, 3.0])
    curves = [*CURVES[:2], *CURVES[3:], CURVES[2]]
    short_by = 0.9 - find_bound(curves, 0.15, half_width=math.hypot(0.1, guess))
    interval = [0.0, 0.25]
    assert is_pruned(study, [0.15], interval, margin=short_by - 1e-9)
    assert not is_pruned(study, [0.15], interval, margin=short_by + 1e-9)


def test_minimising_is_the_mirror():
    losses = make_study(*[[1 - value for value in curve] for curve in CURVES], direction="minimize")
    scores = make_study(*CURVES)
    for value in (0.1, 0.2, 0.3, 0.38, 0.41, 0.45):
        for half_width in (0.0, 0.2):
            ends = [value - half_width / 2, value + half_width]
            mirrored = [1 - end for end in ends]
            assert is_pruned(losses, [1 - value], mirrored) == is_pruned(scores, [value], ends)
    assert f"lower bound {1 - find_bound(CURVES, 0.2):.4g} of its predicted final value > 0.1," in explain(
        losses, [0.8]
    )


def test_warmup_epochs_and_startup_trials():
    study = make_study(*[[start, start, end] for start, end in CURVES])
    assert is_pruned(study, [0.0])
    assert not is_pruned(study, [0.0], warmup_epochs=1)
    assert is_pruned(study, [0.0, 0.0], warmup_epochs=1)
    assert not is_pruned(study, [0.0], startup_trials=7)
    assert is_pruned(study, [0.0], startup_trials=6)
    assert not is_pruned(make_study(), [0.0], startup_trials=0)
    assert not is_pruned(make_study(*CURVES[:2]), [0.0], startup_trials=0)
    assert is_pruned(make_study(*CURVES[:3]), [0.0], startup_trials=0)


def test_patience_asks_for_reports_in_a_row():
    study = make_study(*[[start] * 6 + [end] for start, end in CURVES])
    assert is_pruned(study, [2.0, 0.0, 0.0, 0.0])
    assert not is_pruned(study, [2.0, 0.0, 0.0, 0.0], patience=2)  # at epoch 3 the 2.0 still counted
    assert is_pruned(study, [2.0, 0.0, 0.0, 0.0, 0.0], patience=2)
    assert not is_pruned(study, {3: 0.0}, patience=2)


def test_a_trial_that_ended_early_counts_with_its_last_reports():
    means = [[(start + end) / 2, end] for start, end in CURVES]
    reason = explain(make_study(*CURVES), [0.0, 0.0, 0.2, 0.2, 0.2])
    assert reason.startswith(f"epoch 5: upper bound {find_bound(means, 0.2):.4g} of")


def test_trials_that_say_nothing_at_that_epoch_are_left_out():
    assert not is_pruned(make_study(*[{5: 0.9}] * 6), [0.0, 0.0, 0.0])
    mixed = make_study(*[{4: 0.9}] * 3, *[{1: math.nan, 4: 0.9}] * 3, *CURVES)
    assert f"upper bound {find_bound(CURVES, 0.2):.4g} of" in explain(mixed, [0.2])


def test_pruned_and_failed_trials_are_no_reference():
    study = optuna.create_study(direction="maximize")
    for state in (TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING):
        for curve in CURVES:
            add_trial(study, curve, state=state)
    assert not is_pruned(study, [0.0])


def test_calibration_trials_are_never_pruned_but_others_are_compared_with_them():
    study = optuna.create_study(direction="maximize")
    for curve in CURVES:
        add_trial(study, curve, is_calibration=True)
    trial = add_trial(study, [0.0, math.nan], is_calibration=True, state=TrialState.RUNNING)
    assert not FlatnessPruner().prune(study, trial)
    assert is_pruned(study, [0.0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_pruned_at_once(value):
    assert explain(optuna.create_study(direction="maximize"), [0.1, value]) == f"epoch 2: {value} was reported"


def test_a_trial_that_ended_at_infinity_is_nobodys_measure():
    study = make_study(*CURVES)
    add_trial(study, [0.5], value=math.inf)
    assert "< 0.9, the best of the 6" in explain(study, [0.2])


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
        ({"confidence": 1.0}, "confidence = 1.0; expected a number of at least 0.5 and under 1"),
        ({"confidence": 0.4}, "confidence = 0.4"),
        ({"objective": -1}, "objective = -1"),
    ],
)
def test_refuses_senseless_options(options, message):
    with pytest.raises(ValueError, match=message):
        FlatnessPruner(**options)


def test_refuses_an_objective_that_the_study_does_not_have():
    with pytest.raises(ValueError, match="objective = 1; the study has 1, counted from 0"):
        explain(make_study(*CURVES), [0.2], objective=1)


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    with warnings.catch_warnings():
        # Optuna's own connections are closed by the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        yield None if request.param == "memory" else f"sqlite:///{tmp_path / 'study.db'}"


def test_works_in_a_study_of_ones_own(storage):
    """A user's objective: who might still be the best ends, the hopeless stop early and say why."""

    def objective(trial):
        quality = trial.suggest_float("quality", 0, 1)
        for epoch in range(1, 11):
            score = quality * (1 - 0.5**epoch) + 0.02 * math.sin(5 * epoch * quality)
            trial.set_user_attr(INTERVAL_ATTRIBUTE, [score - 0.02, score + 0.02])
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    study = optuna.create_study(storage=storage, direction="maximize", pruner=FlatnessPruner())
    for quality in (0.5, 0.6, 0.7, 0.8, 0.1, 0.85, 0.55, 0.9, 0.2):
        study.enqueue_trial({"quality": quality})
    study.optimize(objective, n_trials=9)
    assert study.best_params == {"quality": 0.9}
    for trial in study.trials:
        if trial.params["quality"] in (0.1, 0.55, 0.2):
            assert trial.state == TrialState.PRUNED
            assert len(trial.intermediate_values) < 4
            last = max(trial.intermediate_values)
            assert trial.user_attrs[PRUNED_ATTRIBUTE].startswith(f"epoch {last}: upper bound ")
        else:
            assert trial.state == TrialState.COMPLETE
            assert PRUNED_ATTRIBUTE not in trial.user_attrs


def run_two_objectives(pruner, networks, storage=None, sampler=None, *, is_size_known=True):
    """A study of score and size, in which a network of quality q has a score of about q·(1 − 1/2^epoch)."""
    study = optuna.create_study(
        storage=storage,
        directions=["maximize", "minimize"],
        pruner=pruner,
        sampler=sampler or optuna.samplers.RandomSampler(),
    )

    def objective(trial):
        quality, size = networks[trial.number]
        trial.set_user_attr("epochs", 0)
        for epoch in range(1, 6):
            score = quality * (1 - 0.5**epoch)
            pruner.report(
                trial, score, epoch, interval=[score - 0.01, score + 0.01], known={1: size} if is_size_known else None
            )
            trial.set_user_attr("epochs", epoch)
            if pruner.should_prune(trial):
                raise optuna.TrialPruned
        trial.suggest_float("unused", 0, 1)
        return score, size

    study.optimize(objective, n_trials=len(networks))
    return study


SEEN = [(0.9, 1000), (0.6, 300), (0.8, 500), (0.5, 200)]


def test_several_objectives_prune_what_a_finished_trial_dominates(storage):
    networks = [*SEEN, (0.7, 600), (0.7, 400), (0.4, 100), (0.4, 200), (0.95, 2000), (0.85, 2000)]
    study = run_two_objectives(FlatnessPruner(), networks, storage)
    pruned = [networks[trial.number] for trial in study.trials if trial.state == TrialState.PRUNED]
    # Worse than (0.8, 500); as small as (0.5, 200) and worse; worse than (0.95, 2000). The others are wanted.
    assert pruned == [(0.7, 600), (0.4, 200), (0.85, 2000)]
    first = study.trials[4]
    assert first.user_attrs["epochs"] == 1
    assert first.user_attrs[PRUNED_ATTRIBUTE].endswith(
        "the best of the 3 finished trials that are as good in all other objectives (trial 2)"
    )
    front = {networks[trial.number] for trial in study.best_trials}
    assert front == {(0.9, 1000), (0.6, 300), (0.8, 500), (0.5, 200), (0.7, 400), (0.4, 100), (0.95, 2000)}


def test_of_several_objectives_one_that_is_not_known_keeps_a_trial_alive():
    study = run_two_objectives(FlatnessPruner(), [*SEEN, (0.1, 9999)], is_size_known=False)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5


def test_any_objective_may_be_the_predicted_one():
    pruner = FlatnessPruner(objective=1)
    study = optuna.create_study(directions=["minimize", "maximize"], pruner=pruner)
    for quality, size in SEEN:
        trial = study.ask()
        pruner.report(trial, quality / 2, 1, known={0: size})
        study.tell(trial, (size, quality))
    for quality, size, is_to_be_pruned in [(0.7, 600, True), (0.7, 400, False)]:
        trial = study.ask()
        pruner.report(trial, quality / 2, 1, known={0: size})
        assert pruner.should_prune(trial) == is_to_be_pruned


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.NSGAIISampler])
def test_samplers_go_on_after_trials_pruned_of_several_objectives(sampler):
    study = run_two_objectives(FlatnessPruner(), [*SEEN, *[(0.1, 1000)] * 8], sampler=sampler(seed=0))
    assert [trial.state for trial in study.trials[4:]] == [TrialState.PRUNED] * 8


def test_its_report_is_optunas_own_in_a_study_of_one_objective():
    pruner = FlatnessPruner()
    study = make_study(*CURVES)
    study.pruner = pruner
    trial = study.ask()
    pruner.report(trial, 0.2, 1, interval=(0.1, 0.3))
    (frozen,) = study.get_trials(states=(TrialState.RUNNING,))
    assert frozen.intermediate_values == {1: 0.2}
    assert frozen.user_attrs == {INTERVAL_ATTRIBUTE: [0.1, 0.3]}
    assert trial.should_prune()
    assert pruner.should_prune(trial)


def test_of_two_reports_of_an_epoch_the_first_counts():
    pruner = FlatnessPruner()
    study = optuna.create_study(directions=["maximize", "minimize"], pruner=pruner)
    trial = study.ask()
    pruner.report(trial, 0.5, 1)
    pruner.report(trial, math.nan, 1)
    assert not pruner.should_prune(trial)
    pruner.report(trial, math.nan, 2)
    assert pruner.should_prune(trial)
    assert study.trials[0].user_attrs[PRUNED_ATTRIBUTE] == "epoch 2: nan was reported"


def test_asked_about_a_trial_that_has_ended_it_answers_and_writes_nothing():
    study = make_study(*CURVES)
    short = study.get_trials(deepcopy=False)[4]
    assert FlatnessPruner(reference="median").prune(study, short)
    assert not study.trials[4].user_attrs
