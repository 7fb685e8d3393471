"""A Gaussian process with one length a feature, its kernel chosen by marginal likelihood."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, WhiteKernel

from flatselect.calibration.estimators import Array, Fitted

# A likelihood costs n³; rows of one trial at successive epochs say nearly the same.
MOST_PROCESS_ROWS = 100


@dataclass(frozen=True)
class ProcessEstimator:
    """A Gaussian process around the weighted mean: linear + squared-exponential kernel with one length a feature.

    The hyper-parameters maximise the marginal likelihood with white noise of one variance; then each row's noise is
    divided by its weight, so that a group of many rows does not count for more than one of few.
    """

    kernel: Kernel
    noise: float
    scale: float

    @classmethod
    def choose(cls, Z: Array, y: Array, weights: Array) -> "ProcessEstimator":
        mean = float(np.average(y, weights=weights))
        scale = float(np.sqrt(np.average((y - mean) ** 2, weights=weights)))
        step = math.ceil(len(y) / MOST_PROCESS_ROWS)
        bounds = (1e-3, 1e3)
        smooth = ConstantKernel(0.5, bounds) * RBF(np.full(Z.shape[1], 3.0), (0.3, 1e3))
        linear = ConstantKernel(0.1, bounds) * DotProduct(1.0, "fixed")
        process = GaussianProcessRegressor(smooth + linear + WhiteKernel(0.1, (1e-4, 1e1)), alpha=1e-8)
        with warnings.catch_warnings():
            # A length at its upper bound is how a process drops a feature; it says so for each.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(Z[::step], (y[::step] - mean) / scale)
        return cls(process.kernel_.k1, float(process.kernel_.k2.noise_level), scale)

    def fit(self, Z: Array, y: Array, weights: Array) -> Fitted:
        mean = float(np.average(y, weights=weights))
        noise = self.noise / weights + 1e-8
        process = GaussianProcessRegressor(self.kernel, alpha=noise, optimizer=None)
        process.fit(Z, (y - mean) / self.scale)
        return _Process(process, mean, self.scale)

    def describe(self) -> dict[str, Any]:
        return {"name": "gaussian_process", "kernel": str(self.kernel), "noise": self.noise}


@dataclass(frozen=True)
class _Process:
    process: GaussianProcessRegressor
    mean: float
    scale: float

    def predict(self, Z: Array) -> Array:
        return np.asarray(self.mean + self.scale * self.process.predict(Z), dtype=np.float64)
