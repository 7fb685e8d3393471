"""Boosted shallow trees, kept small: a calibration has tens of trials."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import ThreadpoolController

from flatselect.calibration.estimators import Array, Folds

_LEARNING_RATE = 0.2
_ROUNDS = (3, 6, 12, 24)
_LEAVES = 4  # interactions of two features, or three steps in one
_ROWS_IN_LEAF = 5
_N_BINS = 32


@dataclass(frozen=True)
class BoostingEstimator:
    """Gradient boosting of trees with four leaves at a learning rate of 0.2, squared error.

    Attributes:
        n_rounds: Trees.
        is_monotone: Whether predictions never fall as column 0, log flatness, grows, as theory has it.
    """

    n_rounds: int
    is_monotone: bool

    @classmethod
    def choose(cls, Z: Array, y: Array, weights: Array, folds: Folds, *, is_monotone: bool) -> "BoostingEstimator":
        """Takes the number of trees with the least held-out squared error."""
        longest = cls(_ROUNDS[-1], is_monotone)
        errors = np.zeros(longest.n_rounds)
        for fold in np.unique(folds):
            held = folds == fold
            stages = longest.fit(Z[~held], y[~held], weights[~held]).predict_stages(Z[held])  # (n_rounds, n_held)
            errors += (stages - y[held]) ** 2 @ weights[held]
        return cls(min(_ROUNDS, key=lambda n_rounds: float(errors[n_rounds - 1])), is_monotone)

    def fit(self, Z: Array, y: Array, weights: Array) -> "_Boosted":
        mean = float(np.average(y, weights=weights))
        scale = float(np.sqrt(np.average((y - mean) ** 2, weights=weights))) or 1.0
        trees = HistGradientBoostingRegressor(
            learning_rate=_LEARNING_RATE,
            max_iter=self.n_rounds,
            max_leaf_nodes=_LEAVES,
            max_bins=_N_BINS,
            min_samples_leaf=_ROWS_IN_LEAF,
            early_stopping=False,
            monotonic_cst=[1] + [0] * (Z.shape[1] - 1) if self.is_monotone else None,
            random_state=0,
        )
        # Bins made here, by quantiles without weights: the weighted ones of scikit-learn take most of a fit's time.
        edges = np.quantile(Z, np.linspace(0, 1, _N_BINS + 1)[1:-1], axis=0)
        # On some hundred rows, threads cost many times what they save.
        with _find_threads().limit(limits=1, user_api="openmp"):
            trees.fit(_find_bins(Z, edges), (y - mean) / scale, sample_weight=weights)
        return _Boosted(trees, edges, mean, scale)

    def describe(self) -> dict[str, Any]:
        return {"name": "gradient_boosting", "n_rounds": self.n_rounds, "learning_rate": _LEARNING_RATE}


@dataclass(frozen=True)
class _Boosted:
    trees: HistGradientBoostingRegressor
    edges: Array  # (n_bins - 1, n_features)
    mean: float
    scale: float

    def predict(self, Z: Array) -> Array:
        return np.asarray(self.mean + self.scale * self.trees.predict(_find_bins(Z, self.edges)), dtype=np.float64)

    def predict_stages(self, Z: Array) -> Array:
        """Predictions after each tree, (n_rounds, n)."""
        return self.mean + self.scale * np.stack(list(self.trees.staged_predict(_find_bins(Z, self.edges))))


def _find_bins(Z: Array, edges: Array) -> Array:
    """The bin of each value, (n, n_features): how many edges it is not below."""
    columns = [np.searchsorted(edges[:, j], Z[:, j], side="right") for j in range(Z.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64)


@cache
def _find_threads() -> ThreadpoolController:
    return ThreadpoolController()
