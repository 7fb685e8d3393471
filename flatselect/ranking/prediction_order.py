"""Which of two predictions is the better one."""

from flatselect.records import Prediction


def order_prediction(prediction: Prediction, train_score: float | None) -> tuple[float, float]:
    """A sort key, best first: by predicted test score, and of two that tie at its bounds by what lies beyond them.

    Scores end at 0 and 1. Of two that tie there, the one with the higher training score − predicted gap is better.
    """
    score = prediction.predicted_test_score
    # Only where the score was clipped does this say more than the score itself (but for rounding).
    beyond = score
    if score in (0.0, 1.0) and train_score is not None:
        beyond = train_score - prediction.predicted_test_gap
    return -score, -beyond


def interval_width(prediction: Prediction) -> float:
    """The width of the predicted gap's interval, which unlike the score's does not end at 0 and 1."""
    low, high = prediction.predicted_test_gap_interval
    return high - low
