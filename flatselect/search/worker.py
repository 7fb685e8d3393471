"""A worker: trains one trial at a time, an epoch a request, and measures it."""

import dataclasses
import os
import sys
import time
import traceback
from functools import partial
from typing import Any

import torch

from flatselect.assessment import Probe, assess
from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset, describe_training_set, gather_images
from flatselect.data.splits import split_holdout
from flatselect.errors import CheckpointError, FlatselectError
from flatselect.flatness.head_search import find_head
from flatselect.flatness.penalty import flatness_penalty
from flatselect.records import LATENCY, EpochMeasurement, Failure
from flatselect.search.logs import log_event
from flatselect.search.protocol import (
    LOADER_LOST,
    AuditReply,
    AuditRequest,
    SearchImages,
    TrialAssignment,
    TrialReport,
    WorkerSettings,
)
from flatselect.search_space import make_candidate
from flatselect.training.building import build_candidate
from flatselect.training.checkpoint import CheckpointFile, load_checkpoint, save_checkpoint
from flatselect.training.evaluation import evaluate
from flatselect.training.fit import Trainer
from flatselect.training.latency import measure_latency
from flatselect.training.seeding import derive_seed


class TrialWorker:
    """Runs in the driver's process or as a Ray actor; both speak `flatselect.search.protocol`."""

    def __init__(self, settings: WorkerSettings, images: SearchImages) -> None:
        sys.path[:0] = [path for path in settings.python_path if path not in sys.path]
        if settings.n_threads is not None:
            torch.set_num_threads(settings.n_threads)
        if settings.memory_fraction is not None:
            torch.cuda.set_per_process_memory_fraction(settings.memory_fraction)
        self._settings = settings
        self._config = StudyConfig.from_dict(settings.config)
        self._images = images
        self._trial: _TrialInTraining | None = None

    def start(self, assignment: TrialAssignment) -> TrialReport:
        """Begins a trial, or takes it up at the epoch of its last checkpoint."""
        self._trial = None
        try:
            self._trial = _TrialInTraining(assignment, self._config, self._settings, self._images)
            report = self._trial.resume()
            log_event(
                "trial begins",
                trial=assignment.number,
                attempt=assignment.attempt,
                epoch=report.epoch,
                params=assignment.params,
            )
            return report
        except Exception as error:  # noqa: BLE001 - whatever the candidate raises ends the candidate, not the worker
            return _report_failure(assignment, 0, error)

    def train_epoch(self) -> TrialReport:
        """Trains and measures the next epoch of the trial that was started."""
        trial = self._trial
        if trial is None:
            raise RuntimeError("no trial was started on this worker")
        try:
            report = trial.train_epoch()
            _log_epoch(report)
            return report
        except Exception as error:  # noqa: BLE001 - as in start
            self._trial = None
            return _report_failure(trial.assignment, trial.trainer.epoch, error)

    def audit(self, request: AuditRequest, audit_set: Dataset) -> AuditReply:
        """Evaluates a trial's last weights on images that no decision has seen."""
        try:
            candidate = make_candidate(self._config, request.params)
            model = build_candidate(candidate, self._images.train, seed=0, device=self._settings.device)
            state = load_checkpoint(request.checkpoint, map_location=self._settings.device)
            model.load_state_dict(state["model"])
            result = evaluate(model, audit_set, self._config.measure.batch_size, self._settings.device)
        except Exception as error:  # noqa: BLE001 - as in start
            return AuditReply(request.number, failure=_describe_failure(error))
        return AuditReply(request.number, result.score, result.loss, result.n_images)


class _TrialInTraining:
    """One attempt: its data, its model, the curve so far."""

    def __init__(
        self, assignment: TrialAssignment, config: StudyConfig, settings: WorkerSettings, images: SearchImages
    ) -> None:
        self.assignment = assignment
        self._config = config
        self._settings = settings
        self._candidate = make_candidate(config, assignment.params)
        self._seed = derive_seed(config.study.seed, "trial", assignment.number)
        self._checkpoint = assignment.checkpoint
        self._curve: list[EpochMeasurement] = []
        dataset = images.train
        train_indices, holdout_indices = self._split(dataset)
        self._train_set = dataset.subset(train_indices)
        self._holdout_set = dataset.subset(holdout_indices) if assignment.is_calibration else None
        # The same training images for every trial that trains on all of them.
        probe_seed = derive_seed(config.study.seed, "probe")
        self._probe = Probe.draw(self._train_set, config.measure.probe, probe_seed, settings.device)
        self._unlabeled = None
        if images.unlabeled is not None:
            self._unlabeled, _ = gather_images(images.unlabeled, settings.device)
        model = build_candidate(self._candidate, dataset, seed=derive_seed(self._seed, "model"), device=settings.device)
        # A head that cannot be measured is refused before an epoch is spent on it.
        head = find_head(model, self._probe.images[:4], config.measure.layer)
        self.trainer = Trainer(
            model,
            self._train_set,
            self._candidate,
            seed=derive_seed(self._seed, "fit"),
            device=settings.device,
            penalty=partial(flatness_penalty, head=head),
        )

    def resume(self) -> TrialReport:
        """Loads what a former attempt left; a checkpoint that cannot be used is as good as none."""
        try:
            state = load_checkpoint(self._checkpoint, map_location=self._settings.device)
            if state.get("identity") != self._identity():
                raise CheckpointError(f"{self._checkpoint}: belongs to another trial")
            self.trainer.load_state_dict(state["trainer"] | {"model": state["model"]})
            self._curve = [EpochMeasurement.from_dict(values) for values in state["curve"]]
        except CheckpointError:
            return self._report(())
        return self._report(tuple(self._curve), resumed_at=self.trainer.epoch)

    def train_epoch(self) -> TrialReport:
        """Trains one epoch, measures it if it is due, writes the checkpoint, and only then reports."""
        started = time.perf_counter()
        self.trainer.train_epoch()
        trained = time.perf_counter()
        is_due = self.trainer.is_done or self.trainer.epoch % self._config.measure.every == 0
        measured = (self._measure(trained - started, trained),) if is_due else ()
        self._curve += measured
        content = self.trainer.state_dict()
        checkpoint = save_checkpoint(
            self._checkpoint,
            {
                "identity": self._identity(),
                "candidate": {"model": self._candidate.model, "model_args": self._candidate.model_args},
                "images": describe_training_set(self._train_set),
                "curve": [measurement.to_dict() for measurement in self._curve],
                "model": content.pop("model"),
                "trainer": content,
            },
            self.trainer.epoch,
        )
        return self._report(measured, checkpoint)

    def _measure(self, train_seconds: float, started: float) -> EpochMeasurement:
        model, options, device = self.trainer.model, self._config.measure, self._settings.device
        holdout = self._holdout_set and evaluate(model, self._holdout_set, options.batch_size, device)
        measured = assess(
            model,
            self._train_set,
            self._probe,
            epoch=self.trainer.epoch,
            extras=options.extras,
            unlabeled=self._unlabeled,
            layer=options.layer,
            batch_size=options.batch_size,
            device=device,
        )
        if "latency" in self._config.study.minimize:
            measured = dataclasses.replace(measured, companions=measured.companions | {LATENCY: self._find_latency()})
        return dataclasses.replace(
            measured,
            holdout_score=holdout.score if holdout else None,
            holdout_loss=holdout.loss if holdout else None,
            n_holdout_images=holdout.n_images if holdout else 0,
            train_seconds=train_seconds,
            measure_seconds=time.perf_counter() - started,
        )

    def _find_latency(self) -> float:
        """Measured once: it does not change as the weights do, and an objective must not differ from epoch to epoch."""
        if self._curve and (known := self._curve[-1].latency_ms) is not None:
            return known
        return measure_latency(self.trainer.model, self._probe.images[: self._config.measure.latency_batch_size])

    def _split(self, dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.assignment.is_calibration:
            return torch.arange(len(dataset)), torch.arange(0)
        seed = derive_seed(self._config.study.seed, "holdout", self.assignment.number)
        return split_holdout(dataset.labels, self._config.calibration.holdout, seed)

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be this trial's."""
        return {
            "study_uid": self._settings.study_uid,
            "number": self.assignment.number,
            "params": self.assignment.params,
            "data": self._train_set.fingerprint,
        }

    def _report(
        self,
        measurements: tuple[EpochMeasurement, ...],
        checkpoint: CheckpointFile | None = None,
        resumed_at: int = 0,
    ) -> TrialReport:
        return TrialReport(
            number=self.assignment.number,
            attempt=self.assignment.attempt,
            epoch=self.trainer.epoch,
            measurements=measurements,
            is_last=self.trainer.is_done,
            checkpoint=checkpoint,
            resumed_at=resumed_at,
            pid=os.getpid(),
        )


def _report_failure(assignment: TrialAssignment, epoch: int, error: Exception) -> TrialReport:
    log_event("trial failed", error=error, trial=assignment.number, attempt=assignment.attempt, epoch=epoch)
    return TrialReport(assignment.number, assignment.attempt, epoch, failure=_describe_failure(error), pid=os.getpid())


def _log_epoch(report: TrialReport) -> None:
    fields: dict[str, Any] = {"trial": report.number, "attempt": report.attempt, "epoch": report.epoch}
    for measured in report.measurements:
        fields |= {
            "train_score": measured.train_score,
            "train_loss": measured.train_loss,
            "relative_gap_flatness": measured.relative_gap_flatness,
            "train_seconds": round(measured.train_seconds, 3),
            "measure_seconds": round(measured.measure_seconds, 3),
        }
    log_event("epoch trained", **fields)


def _describe_failure(error: Exception) -> Failure:
    """A user's mistake needs no traceback; anything else keeps the end of its own."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()
        return Failure("CudaOutOfMemory", f"{error}; use a smaller batch_size or width, or fewer trials a GPU")
    if _is_loader_lost(error):
        return Failure(LOADER_LOST, f"{error}; if it was killed for want of memory, use fewer data.loader_workers")
    tail = "" if isinstance(error, FlatselectError) else "".join(traceback.format_exception(error)[-6:])
    return Failure(type(error).__name__, str(error), tail[-4000:])


def _is_loader_lost(error: Exception) -> bool:
    # torch raises it from a signal handler, wherever the trial is just then, and has no class for it.
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")
