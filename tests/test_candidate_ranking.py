import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatselect.ranking import Candidate, rank_candidates
from flatselect.ranking.probability_best import compute_probability_best, integrate_best
from flatselect.ranking.uncalibrated import find_yardstick
from flatselect.records import EpochMeasurement, Prediction

KEYS = [
    "path", "rank", "predicted_test_score", "predicted_test_score_interval", "predicted_test_gap", "train_score",
    "relative_gap_flatness", "probability_best", "extrapolation", "error",
]  # fmt: skip


def make_measurement(train_score=0.9, **companions):
    return EpochMeasurement(1, train_score, 0.1, 100, 10, relative_gap_flatness=1.5, companions=companions)


class Predictor:
    """Predicts what it is told, by training score."""

    calibrator = SimpleNamespace(coverage=0.9)

    def __init__(self, gaps):
        self.gaps = gaps

    def predict(self, measurement):
        gap, half_width = self.gaps[measurement.train_score]
        low, high = gap - half_width, gap + half_width
        score = measurement.train_score
        return Prediction(
            gap, (low, high), clip(score - gap), (clip(score - high), clip(score - low)), extrapolation=gap > 0.5
        )

    def predict_many(self, measurements):
        return [self.predict(measurement) for measurement in measurements]


def clip(value):
    return min(1.0, max(0.0, value))


def rank(gaps):
    return rank_candidates([Candidate(f"{score}.pt", make_measurement(score)) for score in gaps], Predictor(gaps))


def test_higher_predicted_test_score_first_and_errors_last():
    measured = [Candidate("a", make_measurement(0.9)), Candidate("b", make_measurement(1.0))]
    candidates = [Candidate("x", error="empty"), *measured, Candidate("y", error="another")]
    ranked = rank_candidates(candidates, Predictor({0.9: (0.05, 0.1), 1.0: (0.2, 0.1)}))
    assert [(c.path, c.rank) for c in ranked] == [("a", 1), ("b", 2), ("x", None), ("y", None)]
    assert [c.error for c in ranked] == [None, None, "empty", "another"]
    best = ranked[0].to_json()
    assert list(best) == KEYS
    assert best["predicted_test_score"] == pytest.approx(0.85)
    assert best["predicted_test_score_interval"] == pytest.approx([0.75, 0.95])
    assert (best["predicted_test_gap"], best["train_score"], best["relative_gap_flatness"]) == (0.05, 0.9, 1.5)
    assert best["extrapolation"] is False
    assert {name for name, value in ranked[2].to_json().items() if value is not None} == {"path", "error"}


def test_scores_that_tie_at_1_go_by_what_lies_beyond_and_all_else_equal_by_the_narrower_interval():
    assert [c.path for c in rank({0.98: (-0.03, 0.1), 0.99: (-0.05, 0.1), 1.0: (-0.01, 0.1)})] == [
        "0.99.pt", "0.98.pt", "1.0.pt",
    ]  # fmt: skip
    ranked = rank({0.75: (0.25, 0.2), 0.5: (0.0, 0.1)})
    assert [c.path for c in ranked] == ["0.5.pt", "0.75.pt"]


def test_what_the_predictor_has_rows_of_is_predicted_without_them():
    def without(group):
        return Predictor({0.9: {"2": (0.4, 0.1), "3": (0.3, 0.1)}[group]})

    predictor = Predictor({0.9: (0.1, 0.1)})
    predictor.without = without
    candidates = [
        Candidate(name, make_measurement(0.9), group=group) for name, group in (("a", "2"), ("b", "3"), ("c", None))
    ]
    ranked = rank_candidates(candidates, predictor)
    assert [(c.path, c.predicted_test_gap) for c in ranked] == [("c", 0.1), ("b", 0.3), ("a", 0.4)]
    assert rank_candidates(candidates, None)[0].prediction is None


def test_candidates_that_are_alike_in_all_stay_in_their_order():
    candidates = [Candidate(name, make_measurement(0.9)) for name in "cab"]
    ranked = rank_candidates(candidates, Predictor({0.9: (0.1, 0.1)}))
    assert [c.path for c in ranked] == ["c", "a", "b"]
    assert [c.probability_best for c in ranked] == pytest.approx([1 / 3] * 3)


def test_without_a_predictor_by_disturbed_images_and_agreement_then_loss_and_nothing_is_predicted():
    def make(path, augmentation, mixup, loss, **companions):
        measurement = make_measurement(
            augmentation_accuracy=augmentation, mixup_accuracy=mixup, noise_accuracy=0.9, **companions
        )
        return Candidate(path, dataclasses.replace(measurement, train_loss=loss))

    candidates = [
        Candidate("bare", make_measurement()),
        make("low", 0.5, 0.8, 0.1),
        make("loss", 0.75, 0.625, 0.2),
        make("first", 0.5, 0.9, 0.3),
        make("better loss", 0.625, 0.75, 0.1),
        Candidate("broken", error="broken"),
        make("nan", float("nan"), 0.9, 0.1),
    ]
    ranked = rank_candidates(candidates, None)
    assert [c.path for c in ranked] == ["first", "better loss", "loss", "low", "bare", "nan", "broken"]
    agreeing = make("agrees", 0.6, 0.9, 9.0, unlabeled_weighted_agreement=0.8)
    less = make("agrees less", 0.6, 0.9, 0.1, unlabeled_weighted_agreement=0.7)
    in_folly = make("agrees, and with nothing else", 0.1, 0.2, 0.1, unlabeled_weighted_agreement=0.9)
    ranked_by_both = rank_candidates([less, in_folly, agreeing], None)
    assert [c.path for c in ranked_by_both] == ["agrees", "agrees less", "agrees, and with nothing else"]
    measurements = [c.measurement for c in ranked if c.measurement is not None]
    yardstick = find_yardstick(measurements)
    assert yardstick.name == "accuracy on disturbed training images"
    assert yardstick.values[:4] == pytest.approx([2.3 / 3, 2.275 / 3, 2.275 / 3, 2.2 / 3])
    assert yardstick.values[4:] == (None, None)
    both = find_yardstick([*measurements, agreeing.measurement])
    assert both.short_name == "agreement, disturbed"
    assert both.values == (*[None] * 6, pytest.approx((0.8 + 0.8) / 2))
    undisturbed = make_measurement(unlabeled_weighted_agreement=0.8)
    assert find_yardstick([undisturbed])[1:] == ("agreement", (0.8,))
    assert [c.rank for c in ranked] == [1, 2, 3, 4, 5, 6, None]
    for name in ("predicted_test_score", "predicted_test_score_interval", "predicted_test_gap", "probability_best"):
        assert all(c.to_json()[name] is None for c in ranked)
    assert ranked[0].to_json()["train_score"] == 0.9


def test_numbers_that_are_not_finite_are_null():
    measurement = dataclasses.replace(make_measurement(), relative_gap_flatness=float("nan"))
    (ranked,) = rank_candidates([Candidate("a", measurement)], Predictor({0.9: (0.1, 0.1)}))
    assert ranked.to_json()["relative_gap_flatness"] is None
    assert ranked.probability_best == 1


def test_nothing_to_rank():
    assert rank_candidates([], None) == rank_candidates([], Predictor({})) == []


@pytest.mark.parametrize(
    ("means", "deviations"),
    [
        ([0.9, 0.8], [0.05, 0.05]),
        ([0.9, 0.8, 0.85, 0.7], [0.01, 0.2, 0.05, 1e-4]),
        ([1.1, 1.1, 0.9], [0.03, 0.3, 0.01]),
        (list(np.linspace(0.7, 0.9, 40)), list(np.linspace(0.01, 0.1, 40))),
    ],
)
def test_probabilities_are_those_of_draws(means, deviations):
    rng = np.random.default_rng(0)
    n_draws = 400_000
    draws = np.array(means) + np.array(deviations) * rng.standard_normal((n_draws, len(means)))
    frequencies = np.bincount(draws.argmax(axis=1), minlength=len(means)) / n_draws
    probabilities = integrate_best(np.array(means), np.array(deviations))
    np.testing.assert_allclose(probabilities, frequencies, atol=4 * 0.5 / n_draws**0.5)


def test_two_candidates_have_a_closed_form():
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf(0.95)
    predictions = [Prediction(0.1, (0.05, 0.15), 0.8, (0.75, 0.85)), Prediction(0.2, (0.0, 0.4), 0.75, (0.55, 0.95))]
    first, second = compute_probability_best(predictions, [0.9, 0.95], 0.9)
    spread = ((0.05 / quantile) ** 2 + (0.2 / quantile) ** 2) ** 0.5
    assert first == pytest.approx(NormalDist().cdf(0.05 / spread), abs=1e-4)
    assert first + second == pytest.approx(1)


def test_intervals_of_no_width_are_certain_and_share_where_they_tie():
    assert integrate_best(np.array([0.5, 0.7]), np.array([1e-9, 1e-9])) == pytest.approx([0, 1], abs=1e-6)
    assert integrate_best(np.array([0.7, 0.7, 0.1]), np.array([1e-9, 1e-9, 0.01])) == pytest.approx(
        [0.5, 0.5, 0], abs=1e-6
    )


@given(st.lists(st.tuples(st.floats(-1, 2), st.floats(1e-9, 1)), min_size=1, max_size=30))
def test_probabilities_sum_to_1_and_of_two_equally_sure_the_higher_is_the_likelier(values):
    means, deviations = (np.array(column) for column in zip(*values, strict=True))
    probabilities = integrate_best(means, deviations)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all()
    alike = integrate_best(means, np.full(len(means), 0.1))
    ordered = alike[np.argsort(means, kind="stable")]
    assert (np.diff(ordered) > -1e-6).all()


def test_a_network_that_the_predictor_has_rows_of_is_predicted_without_them():
    class Knowing(Predictor):
        def without(self, group):
            assert group == "7"
            return Predictor({0.7: (-0.25, 0.1)})

    predictor = Knowing({0.9: (0.1, 0.1), 0.8: (0.1, 0.1)})
    candidates = [Candidate("a.pt", make_measurement(0.9)), Candidate("own.pt", make_measurement(0.7), group="7")]
    ranked = rank_candidates([*candidates, Candidate("b.pt", make_measurement(0.8))], predictor)
    assert [candidate.path for candidate in ranked] == ["own.pt", "a.pt", "b.pt"]
