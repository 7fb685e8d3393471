import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from flatselect.ranking import rank_trials
from flatselect.records import EpochMeasurement, Prediction, TrialRecord


def make_trial(number, state="COMPLETE", score=None, half_width=0.1, train_score=0.9, **fields):
    prediction = None
    if score is not None:
        gap = train_score - score
        prediction = Prediction(
            gap, (gap - half_width, gap + half_width), score, (score - half_width, score + half_width)
        )
    measurement = EpochMeasurement(1, train_score, 0.1, 100, 10, relative_gap_flatness=1.0)
    return TrialRecord(number, state, {}, measurement=measurement, prediction=prediction, **fields)


def test_higher_predicted_score_first():
    assert rank_trials([make_trial(0, score=0.7), make_trial(1, score=0.9), make_trial(2, score=0.8)]) == [1, 2, 0]


def test_pruned_trials_rank_by_their_prediction_and_neither_failed_nor_running_ones_at_all():
    trials = [
        make_trial(0, "PRUNED", score=0.99),
        make_trial(1, "FAIL", score=0.99),
        make_trial(2, "RUNNING", score=0.99),
        make_trial(3, score=0.5),
        make_trial(4, "PRUNED"),
        make_trial(5, "PRUNED", score=0.5),
    ]
    assert rank_trials(trials) == [0, 3, 5]


def test_a_complete_trial_without_prediction_follows_by_training_score():
    trials = [
        dataclasses.replace(make_trial(0), measurement=None),
        make_trial(1, train_score=0.8),
        make_trial(2, train_score=0.95),
        make_trial(3, score=0.1),
        make_trial(4, "PRUNED", score=0.9),
    ]
    assert rank_trials(trials) == [4, 3, 2, 1, 0]


def test_ties_go_to_the_narrower_interval_then_the_lower_number():
    trials = [make_trial(2, score=0.8), make_trial(1, score=0.8), make_trial(3, score=0.8, half_width=0.05)]
    assert rank_trials(trials) == [3, 1, 2]


def test_scores_that_end_at_the_same_bound_go_by_what_was_predicted_before_it():
    def make(number, gap, score, **fields):
        trial = make_trial(number, score=score, **fields)
        return dataclasses.replace(trial, prediction=dataclasses.replace(trial.prediction, predicted_test_gap=gap))

    trials = [make(0, -0.11, 1.0), make(1, -0.13, 1.0), make(2, -0.12, 1.0, state="PRUNED"), make(3, 0.95, 0.0)]
    trials.append(make(4, 0.92, 0.0, half_width=0.5))
    assert rank_trials(trials) == [1, 2, 0, 4, 3]


def test_nothing_to_rank():
    assert rank_trials([]) == []


SCORES = st.floats(0, 1)
TRIALS = st.lists(
    st.tuples(st.sampled_from(["COMPLETE", "PRUNED", "FAIL", "RUNNING"]), st.none() | SCORES, SCORES), max_size=12
).map(lambda values: [make_trial(i, state, score, train_score=train) for i, (state, score, train) in enumerate(values)])


@given(trials=TRIALS, audits=st.lists(st.none() | SCORES, min_size=12, max_size=12))
def test_audited_scores_never_change_the_ranking(trials, audits):
    audited = [dataclasses.replace(t, audit_test_score=score) for t, score in zip(trials, audits, strict=False)]
    assert rank_trials(audited) == rank_trials(trials)


@given(trials=TRIALS, random=st.randoms())
def test_the_order_of_the_trials_given_does_not_matter(trials, random):
    shuffled = random.sample(trials, len(trials))
    assert rank_trials(shuffled) == rank_trials(trials)
