"""The driver: the process that asks and tells Optuna, decides, and writes the database.

On PostgreSQL a study may have several, each with workers of its own. They share trials by a lock: who asks for one,
takes one up, or fits the calibrator, first learns what the others have done.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from flatselect.config import StudyConfig
from flatselect.errors import CalibrationError, CheckpointError, SearchError
from flatselect.pruning import PRUNED_ATTRIBUTE
from flatselect.records import Failure
from flatselect.search.calibrator_fitting import CalibratorFitting
from flatselect.search.checkpoint_cleaning import SearchCleaning
from flatselect.search.events import SearchObserver, SearchStatus
from flatselect.search.heartbeat import Heartbeat
from flatselect.search.other_drivers import OtherDrivers
from flatselect.search.protocol import LOADER_LOST, Backend, TrialReport, WorkerLost
from flatselect.search.retraining import choose_retraining, enqueue_retraining
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_pruner
from flatselect.search.study_calibration import StudyCalibration
from flatselect.search.study_identity import OpenStudy
from flatselect.search.telling import News, OptunaTeller
from flatselect.search.trial_book import TrialBook
from flatselect.search.trial_queue import TrialQueue
from flatselect.store.run_records import AttemptOutcome
from flatselect.store.study_reader import FAILURE_ATTRIBUTE
from flatselect.store.upserts import GatheredRows

TrialState = optuna.trial.TrialState
_WAIT_SECONDS = 1.0
_SHARING_SECONDS = 5.0
_LOSSES = {WorkerLost.__name__: "worker", LOADER_LOST: "data loader"}


class Driver:
    """Runs the trials of one study on a backend's workers.

    Every step leaves the database such that a driver that dies after it loses nothing: measurements are written before
    Optuna hears of them, a trial is told once, and a trial that is not told is taken up by the next run.
    """

    def __init__(
        self,
        config: StudyConfig,
        opened: OpenStudy,
        calibration: StudyCalibration,
        adopted: list[RunningTrial],
        backend: Backend,
        observer: SearchObserver,
        heartbeat: Heartbeat,
    ) -> None:
        self._config = config
        self._study = opened.study
        self._study.pruner = make_pruner(config.pruner)
        self._opened = opened
        self._teller = OptunaTeller(self._study, config.study.minimize)
        self._writer = opened.writer
        self._reader = opened.reader
        self._backend = backend
        self._observer = observer
        self._calibration = calibration
        self._book = TrialBook(self._study.get_trials(deepcopy=False), opened.reader.measurements())
        self.others = OtherDrivers(config, opened, heartbeat.run_uid)
        self._fitting = CalibratorFitting(config, opened, calibration, self._book, self.others, observer)
        self._cleaning = SearchCleaning(config, opened, self._fitting, observer)
        self._queue = TrialQueue(
            config, opened, self._book, self._fitting, self.others, heartbeat.run_uid, observer, adopted
        )
        self._running: dict[int, RunningTrial] = {}  # by worker
        self._trained: list[RunningTrial] = []  # trained to the end, waiting for a calibrator
        self._failures_in_row = 0
        self._is_starting = False
        self._started = time.monotonic()
        self._looked = self._started  # at other drivers' calibration trials
        self._heartbeat = heartbeat
        self.stopped_because: str | None = None
        self.stop_requested = False
        self.status = SearchStatus(config.study.trials, phase="searching")

    def run(self) -> None:
        """Runs until the study has its trials, a limit is met or a stop is requested."""
        try:
            self._calibrate_if_due()
            # A run may have died between fitting the calibrator and saying what it predicts.
            self._fitting.predict_ended()
            self._run_trials()
            if not self.stop_requested and self.stopped_because is None:
                # A time limit may have come before the last calibration trial: predict from those there are.
                self._calibrate_if_due(is_final=True)
            if not self.stop_requested and self.stopped_because is None:
                self._retrain_best()
            if not self.stop_requested:
                self._cleaning.clean()
        except BaseException:
            self._opened.patience.give_up()  # what is to be said now, a database that is away need not hear
            raise
        finally:
            for running in [*self._running.values(), *self._trained, *self._queue.again]:
                self._end_attempt(running, "interrupted")

    def _run_trials(self) -> None:
        while self._keep_going():
            # A sampler may take its time: what has come is answered before the next idle worker gets its trial.
            for worker, reply in self._backend.wait(0.0 if self._is_starting else _WAIT_SECONDS):
                self._handle(worker, reply)
            self._end_overdue()
            if self._heartbeat.was_taken_over:
                raise SearchError("another process took this search for dead and goes on with it; this one stops")
            self._show()

    def _end_overdue(self) -> None:
        limit = self._config.study.trial_timeout
        for worker, running in list(self._running.items()):
            if limit is not None and time.monotonic() - running.started > limit:
                del self._running[worker]
                self._backend.dismiss(worker)
                reached = f"it took more than {limit:g} seconds (study.trial_timeout), {running.epoch} epochs in"
                with self._left_if_ended_elsewhere(running):
                    self._fail(running, Failure("TrialTimeout", reached))

    def _retrain_best(self) -> None:
        with self._writer.lock():
            if self.others.find_trials():
                return  # the last driver to end knows which are the best
            numbers = choose_retraining(self._reader.trials(include_audits=False), self._config.study.retrain_top)
            enqueue_retraining(self._study, numbers)
        if numbers:
            self._observer.say(
                f"training the best again, on all labelled images: trials {', '.join(map(str, numbers))}"
            )
            self._queue.n_to_retrain = len(numbers)
            self._run_trials()

    def _keep_going(self) -> bool:
        """Gives an idle worker its next trial; False once nothing runs and nothing may start."""
        if self.stop_requested:
            return False
        self._look_at_others()
        self._is_starting = False
        may_start = self.stopped_because is None
        if may_start and self._backend.idle and (running := self._queue.take()) is not None:
            self._is_starting = True
            worker = self._backend.idle.popleft()
            self._running[worker] = running
            running.started = time.monotonic()
            self._backend.request(worker, "start", running.make_assignment())
        n_wanted = len(self._running) + (self._queue.count_startable() if may_start else 0)
        self._backend.scale(n_wanted)
        self._show()
        # What is trained may wait for a calibration trial that another driver runs.
        return n_wanted > 0 or (bool(self._trained) and bool(self.others.find_trials()))

    def _look_at_others(self) -> None:
        """Learns now and then whether other drivers' calibration trials have ended, if something waits for them."""
        if self._trained and self.others.may_exist and time.monotonic() - self._looked > _SHARING_SECONDS:
            self._looked = time.monotonic()
            self._calibrate_if_due()

    @property
    def enough_because(self) -> str | None:
        """Why no more trials were started though there were to be more."""
        return self._queue.enough_because

    def _handle(self, worker: int, reply: Any) -> None:
        running = self._running[worker]
        with self._left_if_ended_elsewhere(running):
            if isinstance(reply, WorkerLost):
                del self._running[worker]
                loss = Failure(WorkerLost.__name__, reply.reason)
                self._handle_loss(running, loss, was_preempted=reply.was_preempted)
            elif isinstance(reply, TrialReport):
                assert (reply.number, reply.attempt) == (running.number, running.attempt), "a reply of another attempt"
                self._handle_report(worker, running, reply)

    @contextmanager
    def _left_if_ended_elsewhere(self, running: RunningTrial) -> Iterator[None]:
        """Another driver took this one for dead for a while, or somebody told Optuna by hand."""
        try:
            yield
        except UpdateFinishedTrialError:
            if (worker := next((w for w, other in self._running.items() if other is running), None)) is not None:
                self._release(worker)
            self._end_attempt(running, "lost", failure=Failure("EndedElsewhere", "the trial was ended by another"))
            self._heartbeat.beat()  # the next step ends this run if another has taken it over
            self._fitting.catch_up()
            self._observer.say(f"trial {running.number}: was ended by another process, and is left to it")

    def _handle_report(self, worker: int, running: RunningTrial, report: TrialReport) -> None:
        if report.resumed_at:
            self._observer.say(f"trial {running.number}: taken up after epoch {report.resumed_at}")
        elif report.epoch == 0 and running.curve and report.failure is None:
            self._observer.say(
                f"trial {running.number}: starts again, its checkpoint cannot be read ({running.checkpoint}); on "
                "several machines, study.checkpoints must be a folder that all share"
            )
        self.status.n_epochs_run += report.epoch > running.epoch and not report.resumed_at
        running.epoch = report.epoch
        running.add_to_curve(report.measurements)
        self._book.curves[running.number] = running.curve
        with self._writer.gathered() as rows:
            self._writer.add_measurements(running.number, running.attempt, report.measurements)
            if report.checkpoint is not None:
                file = report.checkpoint
                self._writer.set_checkpoint(running.number, file.epoch, file.path, file.sha256, file.size)
            news = [] if report.failure is not None else self._predict_new_epochs(running)
        reason = None
        if report.failure is None:
            reason = self._teller.report_news(running, news, is_resumed=bool(report.resumed_at), is_last=report.is_last)
        self._write(running, rows)
        if report.failure is not None:
            self._release(worker)
            if report.failure.kind == CheckpointError.__name__:
                self._suspend(running, report.failure)
            elif report.failure.kind == LOADER_LOST:
                self._handle_loss(running, report.failure)
            else:
                self._fail(running, report.failure)
        elif reason is not None:
            self._release(worker)
            self._prune(running, reason)
        elif report.is_last:
            self._release(worker)
            self._finish(running)
        else:
            self._backend.request(worker, "train_epoch")

    def _write(self, running: RunningTrial, rows: Sequence[GatheredRows] = ()) -> None:
        """Writes what is new of a trial, in one transaction; raises if another process has ended it."""
        self._opened.storage.flush(rows)
        self._opened.storage.check_is_running(running.trial._trial_id)

    def _handle_loss(self, running: RunningTrial, loss: Failure, *, was_preempted: bool = False) -> None:
        """The same trial goes to another worker, from the epoch of its last checkpoint."""
        running.n_failures += not was_preempted
        if running.n_failures > self._config.ray.max_failures:
            reason = f"{running.n_failures} attempts were lost, the last one: {loss.message}"
            self._fail(running, Failure(loss.kind, reason))
            return
        self._end_attempt(running, "lost", failure=loss)
        running.attempt += 1
        self._observer.say(
            f"trial {running.number}: {_LOSSES[loss.kind]} lost ({loss.message}); attempt {running.attempt} follows"
        )
        self._queue.again.appendleft(running)

    def _predict_new_epochs(self, running: RunningTrial) -> News:
        """The epochs that Optuna has not been told, with what is predicted of those of a trial that held out nothing.

        Epochs measured before there was a calibrator are new once there is one.
        """
        if not running.is_calibration and self._calibration.predictor is None:
            return []
        new = [measurement for measurement in running.curve if measurement.epoch not in running.reported]
        return [(m, None if running.is_calibration else self._calibration.predict(running.number, m)) for m in new]

    def _finish(self, running: RunningTrial) -> None:
        """Tells Optuna the trial's value, once there is a calibrator to say it."""
        last = running.curve[-1]
        if running.is_calibration:
            assert last.holdout_score is not None
            value = last.holdout_score
        elif self._calibration.predictor is None:
            self._trained.append(running)
            return
        else:
            running.prediction = running.prediction or self._calibration.predict(running.number, last)
            value = running.prediction.predicted_test_score
            self._book.predict(running.number, running.prediction)
        self._end_attempt(running, "complete")
        self._tell(running, TrialState.COMPLETE, value)
        self._failures_in_row = 0
        self._observer.say(f"trial {running.number}: done after {running.epoch} epochs, {self._describe(running)}")
        self._calibrate_if_due()

    def _prune(self, running: RunningTrial, reason: str) -> None:
        running.trial.set_user_attr(PRUNED_ATTRIBUTE, reason)
        if running.prediction is not None:
            self._book.predict(running.number, running.prediction)
        self._end_attempt(running, "pruned", pruned_because=reason)
        self._tell(running, TrialState.PRUNED)
        self._failures_in_row = 0
        self._observer.say(f"trial {running.number}: pruned, {reason}")

    def _fail(self, running: RunningTrial, failure: Failure) -> None:
        running.trial.set_user_attr(FAILURE_ATTRIBUTE, str(failure))
        self._end_attempt(running, "fail", failure=failure)
        self._tell(running, TrialState.FAIL)
        self._observer.say(f"trial {running.number}: failed, {failure}")
        self._failures_in_row += 1
        limit = self._config.study.max_failures_in_row
        if self._failures_in_row >= limit:
            self.stopped_because = f"{limit} trials failed in a row, the last one with {failure}"
        self._calibrate_if_due()

    def _suspend(self, running: RunningTrial, failure: Failure) -> None:
        """The disk, not the candidate, is at fault: the search stops, and the next run goes on with the trial."""
        self._end_attempt(running, "interrupted", failure=failure)
        self.stopped_because = f"trial {running.number}: {failure}; the same command goes on with it"

    def _tell(self, running: RunningTrial, state: optuna.trial.TrialState, value: float | None = None) -> None:
        self._teller.tell(running, state, value)
        self._book.end(running.number, state)
        self._cleaning.note_end()

    def _calibrate_if_due(self, *, is_final: bool = False) -> None:
        """Fits the calibrator once every calibration trial there will be has ended; then tells who waited for it.

        Where there is one already, it is fitted anew with every calibration trial that ends.
        """
        with self._writer.lock():
            self._fitting.learn()
            try:
                self._fitting.fit_if_due(is_final=is_final)
            except CalibrationError as error:
                self.stopped_because = self.stopped_because or str(error)
        trained, self._trained = self._trained, []
        for running in trained:
            if self._calibration.predictor is None:
                self._trained.append(running)
            else:
                with self._left_if_ended_elsewhere(running):
                    news = self._predict_new_epochs(running)
                    self._teller.report_news(running, news, is_resumed=False, is_last=True)
                    self._write(running)
                    self._finish(running)

    def _end_attempt(self, running: RunningTrial, outcome: AttemptOutcome, **reasons: Any) -> None:
        self._writer.end_attempt(running.number, running.attempt, outcome, **reasons)

    def _release(self, worker: int) -> None:
        del self._running[worker]
        self._backend.idle.append(worker)

    def _describe(self, running: RunningTrial) -> str:
        last = running.curve[-1]
        if running.prediction is None:
            return f"held-out score {last.holdout_score:.4f}" if last.holdout_score is not None else "measured"
        low, high = running.prediction.predicted_test_score_interval
        return f"predicted test score {running.prediction.predicted_test_score:.4f} [{low:.4f}, {high:.4f}]"

    def _show(self) -> None:
        status, counts = self.status, self._book.counts
        status.n_done, status.n_pruned = counts[TrialState.COMPLETE], counts[TrialState.PRUNED]
        status.n_failed = counts[TrialState.FAIL]
        status.running = {running.number: running.epoch for running in self._running.values()}
        status.seconds = time.monotonic() - self._started
        status.epochs_left = sum(running.epochs_left for running in [*self._running.values(), *self._queue.again])
        status.n_trials = self._config.study.trials + len(self._book.repetitions) + self._queue.n_to_retrain
        mean_epochs = self._book.mean_epochs(float(self._config.training.epochs))
        status.epochs_left += (self._queue.n_searches_left + self._queue.n_to_retrain) * mean_epochs
        status.best = self._book.best
        self._observer.show(status)
