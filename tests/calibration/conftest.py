"""Measurements of trials that never were: gaps that depend on flatness, on a trial's own luck and on held-out noise."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from flatselect.records import EpochMeasurement

MakeCurves = Callable[..., dict[str, list[EpochMeasurement]]]


@pytest.fixture(scope="session")
def make_curves() -> MakeCurves:
    def make(
        n_trials: int,
        seed: int,
        *,
        n_epochs: int = 8,
        of_flatness: float = 0.03,
        of_trial: float = 0.01,
        noise: float = 0.01,
        n_train_images: int = 800,
    ) -> dict[str, list[EpochMeasurement]]:
        """Curves by trial; a gap is 0.1 + 0.02 · log train loss + `of_flatness` · log κ + the trial's own + noise."""
        rng = np.random.default_rng(seed)
        curves = {}
        for trial in range(n_trials):
            slope, level, own = rng.uniform(0.5, 1.5), rng.normal(0, 0.7), rng.normal(0, of_trial)
            n_parameters = int(10 ** rng.uniform(3, 5))
            curve = []
            for epoch in range(1, n_epochs + 1):
                log_loss = -slope * epoch / n_epochs + rng.normal(0, 0.02)
                log_kappa = level + 0.3 * log_loss + rng.normal(0, 0.05)
                gap = 0.1 + 0.02 * log_loss + of_flatness * log_kappa + own + rng.normal(0, noise)
                train_score = 1 - 0.3 * 10**log_loss
                gini = 0.5 * 10**log_loss
                curve.append(
                    EpochMeasurement(
                        epoch=epoch,
                        train_score=train_score,
                        train_loss=10**log_loss,
                        n_train_images=n_train_images,
                        n_parameters=n_parameters,
                        relative_gap_flatness=10**log_kappa,
                        companions={
                            "gini": gini,
                            "logit_variance": 1 / gini,
                            "temperature_flat_ratio": 10**log_kappa * math.exp(rng.normal(0, 0.1)),
                            "mean_confidence": 1 - gini,
                        },
                        holdout_score=train_score - gap,
                        n_holdout_images=200,
                    )
                )
            curves[str(trial)] = curve
        return curves

    return make
