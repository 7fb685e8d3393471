"""How probable it is that each of several networks is the best of them."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr, ndtri

from flatselect.records import Prediction

Array = npt.NDArray[np.float64]

# Points of the quadrature, shared among the candidates; each has this many at least.
_N_POINTS = 4096
_LEAST_POINTS = 8
_SMALLEST_DEVIATION = 1e-9  # of accuracies: nothing is known better, and an interval of no width stays a distribution


def compute_probability_best(
    predictions: Sequence[Prediction], train_scores: Sequence[float], coverage: float
) -> list[float]:
    """The probability of each candidate to have the highest test score; they sum to 1.

    Taken is that the test scores are independent and normal: the mean is training score − predicted gap, not clipped,
    and the interval holds `coverage` of the distribution, so that σ = width / (2 Φ⁻¹((1 + coverage) / 2)). Then

        P(i is best) = ∫ Π_{j≠i} Φ((s − μ_j) / σ_j) dΦ((s − μ_i) / σ_i).

    Errors of one calibrator are alike for networks that are alike. That common part does not change who is best, and
    here it is counted as if it did: the probabilities are closer together than they should be, on the cautious side.

    Args:
        predictions: One for each candidate.
        train_scores: (n_candidates,).
        coverage: Of the predictions' intervals, in (0, 1).
    """
    if not predictions:
        return []
    gaps = np.array([prediction.predicted_test_gap for prediction in predictions])
    intervals = np.array([prediction.predicted_test_gap_interval for prediction in predictions])
    quantile = NormalDist().inv_cdf((1 + coverage) / 2)
    deviations = np.maximum((intervals[:, 1] - intervals[:, 0]) / (2 * quantile), _SMALLEST_DEVIATION)
    return [float(value) for value in integrate_best(np.array(train_scores) - gaps, deviations)]


def integrate_best(means: Array, deviations: Array) -> Array:
    """P(i is best), (n,), of n independent normal variables; deterministic, about 1e-4 exact."""
    n = len(means)
    if n == 1:
        return np.ones(1)
    # At quantiles of every variable, the grid is fine wherever any of them changes.
    n_each = max(_LEAST_POINTS, _N_POINTS // n)
    quantiles = ndtri((np.arange(n_each) + 0.5) / n_each)
    grid = np.unique((means[:, None] + deviations[:, None] * quantiles).ravel())
    z = (grid - means[:, None]) / deviations[:, None]  # (n, n_points)
    logs = log_ndtr(z)
    others = np.exp(logs.sum(axis=0) - logs)  # Π_{j≠i} Φ_j
    below = np.pad(ndtr(z), ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    others = np.pad(others, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    probabilities = (np.diff(below) * (others[:, 1:] + others[:, :-1]) / 2).sum(axis=1)
    return np.asarray(probabilities / probabilities.sum(), dtype=np.float64)
