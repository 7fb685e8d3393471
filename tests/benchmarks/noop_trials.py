"""Trials that train nothing: a worker that answers at once with made-up measurements, and searches made of them."""

import contextlib
import math
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset
from flatselect.records import EpochMeasurement
from flatselect.search import inline_backend
from flatselect.search.protocol import (
    AuditReply,
    AuditRequest,
    SearchImages,
    TrialAssignment,
    TrialReport,
    WorkerSettings,
)
from flatselect.study_file import load_study_file
from flatselect.training.checkpoint import CheckpointFile

STUDY = """
[study]
name = "noop"
[data]
train = "digits"
size = 200
[search_space]
width = { type = "int", low = 8, high = 32, log = true }
learning_rate = { type = "float", low = 0.001, high = 0.3, log = true }
weight_decay = { type = "float", low = 1e-6, high = 1e-2, log = true }
block = { type = "categorical", choices = ["plain", "residual"] }
"""


def make_study(folder: Path, *overrides: str) -> StudyConfig:
    """A study of four hyper-parameters, ten epochs a trial, 8 calibration trials and the default pruner."""
    path = folder / "noop.toml"
    path.write_text(STUDY)
    return load_study_file(path, overrides)


class NoopWorker:
    """Answers like `TrialWorker`, at once: scores rise to an end that the learning rate decides, with some noise."""

    def __init__(self, settings: WorkerSettings, images: SearchImages) -> None:
        self._settings, self._config = settings, StudyConfig.from_dict(settings.config)
        self._epochs = self._config.training.epochs

    def start(self, assignment: TrialAssignment) -> TrialReport:
        self._assignment, self._epoch = assignment, 0
        self._random = random.Random(assignment.number)
        return TrialReport(assignment.number, assignment.attempt, 0)

    def train_epoch(self) -> TrialReport:
        self._epoch += 1
        measured = make_measurement(self._assignment, self._epoch, self._epochs, self._random)
        return TrialReport(
            self._assignment.number,
            self._assignment.attempt,
            self._epoch,
            measurements=(measured,),
            is_last=self._epoch == self._epochs,
            checkpoint=CheckpointFile(self._assignment.checkpoint, self._epoch, "0" * 64, 10**6),
        )

    def audit(self, request: AuditRequest, audit_set: Dataset) -> AuditReply:
        return AuditReply(request.number, 0.5, 1.0, 100)


def make_measurement(
    assignment: TrialAssignment, epoch: int, epochs: int, generator: random.Random
) -> EpochMeasurement:
    """What a worker might have measured."""
    rate = math.log10(assignment.params["learning_rate"])
    end = 0.98 - 0.1 * abs(rate + 1.5) + 0.02 * generator.gauss(0, 1)
    train_score = min(1.0, max(0.0, end * (1 - 0.7 ** (epoch + 1))))
    flatness = 10 ** generator.gauss(0.5, 0.4)
    gap = 0.03 + 0.02 * math.log10(flatness) + 0.01 * generator.gauss(0, 1)
    names = (
        *("mean_confidence", "confidence_q10", "gini", "logit_variance", "margin_q10", "margin_q50", "feature_norm"),
        *("head_frobenius_norm", "davies_bouldin", "head_soft_rank", "head_tic", "last_linear_flatness_normalized"),
    )
    return EpochMeasurement(
        epoch=epoch,
        train_score=train_score,
        train_loss=max(0.01, 2 * (1 - train_score)),
        n_train_images=160 if assignment.is_calibration else 200,
        n_parameters=1000 * int(assignment.params["width"]),
        relative_gap_flatness=flatness,
        hessian_trace=10 * flatness,
        layer="stages.1.0.convolution",
        exactness="hessian",
        n_probe_images=160,
        companions={"n_classes": 10.0} | {name: 0.2 + 0.1 * generator.random() for name in names},
        holdout_score=min(1.0, max(0.0, train_score - gap)) if assignment.is_calibration else None,
        holdout_loss=0.5 if assignment.is_calibration else None,
        n_holdout_images=40 if assignment.is_calibration else 0,
        train_seconds=1.0,
        measure_seconds=0.1,
    )


@contextlib.contextmanager
def noop_workers() -> Iterator[None]:
    """Searches in the block, inline or on Ray, train nothing."""
    from flatselect.search import ray_backend

    class NoopRayWorker(NoopWorker):
        get_ready = ray_backend.RayTrialWorker.get_ready

    # This file is no package that Ray's workers could import.
    ray_backend.ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with (
        patch.object(inline_backend, "TrialWorker", NoopWorker),
        patch.object(ray_backend, "RayTrialWorker", NoopRayWorker),
    ):
        yield


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flatselect-benchmark-") as folder:
        yield Path(folder)
