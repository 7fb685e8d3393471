"""When more trials are not worth their cost: the improvement to be expected of one more."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from flatselect.config import Choices, FloatRange, IntRange, Range, StudyConfig
from flatselect.records import Prediction
from flatselect.search_space import suggest
from flatselect.training.seeding import derive_seed

# Fewer say nothing of ten hyper-parameters; of more, the best ones matter, and a fit costs n³.
LEAST_TRIALS = 10
_MOST_TRIALS = 200
_N_CANDIDATES = 256
# Scores of 0 and 1 have no logit; a test score is hardly known better than this.
_LEAST_SCORE = 0.002
_N_QUANTILES = 64


class ImprovementStop:
    """Says when no new trial is worth starting: `study.stop_improvement`.

    Attributes:
        because: Why it is enough; None as long as it is not.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._n_judged = 0
        self.because: str | None = None

    def is_enough(self, params: Mapping[int, Mapping[str, Any]], predicted: Mapping[int, Prediction]) -> bool:
        """Whether one more trial is expected to improve the best by less than the bound.

        Args:
            params: What was suggested, by trial.
            predicted: The latest predictions of complete trials, and of pruned ones, whose scores are lower than they
                might have become: where they lie, little is to be had.
        """
        bound, n = self._config.study.stop_improvement, len(predicted)
        if bound is None or self.because is not None or n < LEAST_TRIALS or n == self._n_judged:
            return self.because is not None
        self._n_judged = n
        improvement = estimate_improvement(
            self._config,
            [params[number] for number in sorted(predicted)],
            [predicted[number].predicted_test_score for number in sorted(predicted)],
            seed=derive_seed(self._config.study.seed, "improvement", n),
        )
        if improvement < bound:
            self.because = (
                f"one more trial is expected to raise the best predicted test score by {improvement:.2g}, less than "
                f"study.stop_improvement = {bound:g}"
            )
        return self.because is not None


def estimate_improvement(
    config: StudyConfig, params: Sequence[Mapping[str, Any]], scores: Sequence[float], *, seed: int
) -> float:
    """The expected improvement of the best predicted test score by the most promising candidate not tried yet.

    A Gaussian process (Matérn 5/2 of one length, and white noise for what a training's seed and the prediction's own
    error add; by maximum likelihood) is fitted to the logit of the predicted test scores over the search space, numbers
    scaled to [0, 1] on their own axis and choices one-hot. With f its noise-free posterior and b the highest posterior
    mean of a candidate that was tried,

        improvement = max over 256 candidates x drawn by lot of E[ max(0, σ(f(x)) − σ(b)) ],   σ the logistic function.

    Args:
        config: The study.
        params: What was suggested to each finished trial.
        scores: Their predicted test scores, in [0, 1], at least `LEAST_TRIALS` of them.
        seed: Of the candidates.

    Returns:
        In units of the score; 0 where the space has nothing to vary.
    """
    if not any(isinstance(entry, Range) for entry in config.search_space.values()):
        return 0.0
    best_first = np.argsort(-np.asarray(scores), kind="stable")[:_MOST_TRIALS]
    tried = np.array([_encode(config, params[i]) for i in best_first])
    values = logit(np.clip(np.asarray(scores)[best_first], _LEAST_SCORE, 1 - _LEAST_SCORE))
    mean, scale = values.mean(), values.std() or 1.0
    kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(1.0, (0.1, 20), nu=2.5) + WhiteKernel(0.1, (1e-3, 1))
    process = GaussianProcessRegressor(kernel, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the space says nothing
        process.fit(tried, (values - mean) / scale)
    noise = process.kernel_.k2.noise_level
    untried = np.array([_encode(config, candidate) for candidate in _draw(config, seed)])
    centres, deviations = process.predict(untried, return_std=True)
    deviations = np.sqrt(np.maximum(deviations**2 - noise, 0))
    quantiles = norm.ppf((np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES)
    best = expit(mean + scale * process.predict(tried).max())
    outcomes = expit(mean + scale * (centres[:, None] + deviations[:, None] * quantiles))
    return float(np.maximum(0, outcomes - best).mean(axis=1).max())


def _draw(config: StudyConfig, seed: int) -> Iterator[Mapping[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(_N_CANDIDATES):
        trial = study.ask()
        suggest(trial, config)
        yield trial.params


def _encode(config: StudyConfig, params: Mapping[str, Any]) -> list[float]:
    """One point of the search space: a hyper-parameter that is not active lies in the middle, or has no choice."""
    encoded: list[float] = []
    for name, entry in config.search_space.items():
        if isinstance(entry, Choices):
            encoded += [float(name in params and params[name] == choice) for choice in entry.choices]
        elif isinstance(entry, FloatRange | IntRange):
            encoded.append(_find_position(entry, params.get(name)))
    return encoded


def _find_position(entry: FloatRange | IntRange, value: float | None) -> float:
    """Where a number lies in its range, in [0, 1]; the middle where it is not active."""
    if value is None or entry.low == entry.high:
        return 0.5
    if entry.log:
        return float(np.log(value / entry.low) / np.log(entry.high / entry.low))
    return (value - entry.low) / (entry.high - entry.low)
