"""The driver: the process that asks and tells Optuna, decides, and writes the database.

On PostgreSQL a study may have several, each with workers of its own. They share trials by a lock: who asks for one,
takes one up, or fits the calibrator, first learns what the others have done.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from flatselect.config import StudyConfig
from flatselect.errors import CalibrationError, CheckpointError, SearchError
from flatselect.pruning import CALIBRATION_ATTRIBUTE, PRUNED_ATTRIBUTE
from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.search.checkpoint_folder import get_checkpoint_folder, make_checkpoint_path
from flatselect.search.events import SearchObserver, SearchStatus
from flatselect.search.heartbeat import Heartbeat
from flatselect.search.other_drivers import OtherDrivers
from flatselect.search.protocol import LOADER_LOST, Backend, TrialReport, WorkerLost
from flatselect.search.recovery import enter_attempt
from flatselect.search.retraining import choose_retraining, enqueue_retraining
from flatselect.search.retrying import has_waiting_retry
from flatselect.search.running_trial import RunningTrial
from flatselect.search.sampling import make_pruner, make_sampler
from flatselect.search.stopping import ImprovementStop
from flatselect.search.study_calibration import StudyCalibration
from flatselect.search.study_identity import OpenStudy
from flatselect.search.telling import OptunaTeller
from flatselect.search.trial_book import TrialBook
from flatselect.search_space import suggest
from flatselect.store.run_records import AttemptOutcome
from flatselect.store.study_reader import FAILURE_ATTRIBUTE, RETRAINS_ATTRIBUTE, RETRIES_ATTRIBUTE
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
        self._stop = ImprovementStop(config)
        self._n_to_retrain = 0  # waiting in Optuna's queue
        self._folder = get_checkpoint_folder(config, opened.uid)
        self._running: dict[int, RunningTrial] = {}  # by worker
        self._trained: list[RunningTrial] = []  # trained to the end, waiting for a calibrator
        self._waiting = deque(adopted)
        self._failures_in_row = 0
        self._is_starting = False
        self._started = time.monotonic()
        self._looked = self._started  # at other drivers' calibration trials
        self._heartbeat = heartbeat
        self.others = OtherDrivers(config, opened, heartbeat.run_uid)
        self.stopped_because: str | None = None
        self.stop_requested = False
        self.status = SearchStatus(config.study.trials, phase="searching")

    def run(self) -> None:
        """Runs until the study has its trials, a limit is met or a stop is requested."""
        try:
            self._calibrate_if_due()
            if self._calibration.predictor is not None:
                # A run may have died between fitting the calibrator and saying what it predicts.
                self._predict_last(self._book.find(TrialState.COMPLETE, TrialState.PRUNED))
            self._run_trials()
            if not self.stop_requested and self.stopped_because is None:
                # A time limit may have come before the last calibration trial: predict from those there are.
                self._calibrate_if_due(is_final=True)
            if not self.stop_requested and self.stopped_because is None:
                self._retrain_best()
        except BaseException:
            self._opened.patience.give_up()  # what is to be said now, a database that is away need not hear
            raise
        finally:
            for running in [*self._running.values(), *self._trained, *self._waiting]:
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
            self._n_to_retrain = len(numbers)
            self._run_trials()

    def _keep_going(self) -> bool:
        """Gives an idle worker its next trial; False once nothing runs and nothing may start."""
        if self.stop_requested:
            return False
        self._look_at_others()
        self._is_starting = False
        if self._backend.idle and (running := self._next_trial()) is not None:
            self._is_starting = True
            worker = self._backend.idle.popleft()
            self._running[worker] = running
            running.started = time.monotonic()
            self._backend.request(worker, "start", running.make_assignment())
        n_wanted = len(self._running) + self._count_startable()
        self._backend.scale(n_wanted)
        self._show()
        # What is trained may wait for a calibration trial that another driver runs.
        return n_wanted > 0 or (bool(self._trained) and bool(self.others.find_trials()))

    def _look_at_others(self) -> None:
        """Learns now and then whether other drivers' calibration trials have ended, if something waits for them."""
        if self._trained and self.others.may_exist and time.monotonic() - self._looked > _SHARING_SECONDS:
            self._looked = time.monotonic()
            self._calibrate_if_due()

    def _learn(self) -> None:
        """Enters into the book what other drivers did."""
        if not self.others.may_exist:
            return
        ended = self._book.update(self._study.get_trials(deepcopy=False))
        for number in ended:
            self._book.curves.update(self._reader.measurements(number))
        if ended and self._calibration.predictor is not None:
            self._predict_last(ended)

    def _next_trial(self) -> RunningTrial | None:
        if self.stopped_because is not None:
            return None
        if not self._waiting:
            with self._writer.lock():
                self._learn()
                for running in self.others.take_from_dead():
                    self._observer.say(f"trial {running.number}: its driver died; attempt {running.attempt} follows")
                    self._waiting.append(running)
                if not self._waiting:
                    return self._ask() if self._count_to_come() else None
        running = self._waiting.popleft()
        enter_attempt(self._opened, running, self._heartbeat.run_uid)
        return running

    def _count_startable(self) -> int:
        """Trials that would start now if there were workers enough."""
        if self.stopped_because is not None:
            return 0
        return len(self._waiting) + self._count_to_come()

    def _count_to_come(self) -> int:
        """Trials that may still begin, those to be trained again included."""
        options = self._config.study
        if options.timeout is not None and time.monotonic() - self._started > options.timeout:
            return 0
        if self._n_to_retrain:
            return self._n_to_retrain
        if self._book.n_searched >= options.trials or self._is_enough():
            return int(has_waiting_retry(self._study))
        return options.trials - self._book.n_searched

    def _ask(self) -> RunningTrial:
        """A trial that is new."""
        self._study.sampler = make_sampler(self._config.study, len(self._book.states))
        trial = self._study.ask()
        retrains = trial.user_attrs.get(RETRAINS_ATTRIBUTE)
        is_calibration = retrains is None and self._needs_calibration_trial()
        trial.set_user_attr(CALIBRATION_ATTRIBUTE, is_calibration)
        candidate = suggest(trial, self._config)
        is_repetition = retrains is not None or RETRIES_ATTRIBUTE in trial.user_attrs
        self._book.add(trial.number, trial.params, is_calibration=is_calibration, is_repetition=is_repetition)
        self._n_to_retrain -= retrains is not None and self._n_to_retrain > 0
        checkpoint = make_checkpoint_path(self._folder, trial.number)
        running = RunningTrial(trial, candidate, is_calibration, checkpoint, retrains=retrains)
        enter_attempt(self._opened, running, self._heartbeat.run_uid)
        return running

    def _needs_calibration_trial(self) -> bool:
        """Whether the next trial holds out a part: those that failed before are replaced."""
        return self._calibration.may_grow and self._book.n_calibration_alive < self._calibration.n_trials_wanted

    @property
    def enough_because(self) -> str | None:
        """Why no more trials were started though there were to be more."""
        return self._stop.because

    def _is_enough(self) -> bool:
        was_enough = self._stop.because is not None
        is_enough = self._stop.is_enough(self._book.params, self._book.predicted)
        if is_enough and not was_enough:
            self._observer.say(f"no new trial starts: {self._stop.because}")
        return is_enough

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
            self._book.update(self._study.get_trials(deepcopy=False))
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
            reason = self._report_to_optuna(running, news, bool(report.resumed_at), report.is_last)
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
        self._waiting.appendleft(running)

    def _predict_new_epochs(self, running: RunningTrial) -> list[tuple[EpochMeasurement, Prediction | None]]:
        """The epochs that Optuna has not been told, with what is predicted of those of a trial that held out nothing.

        Epochs measured before there was a calibrator are new once there is one.
        """
        if not running.is_calibration and self._calibration.predictor is None:
            return []
        new = [measurement for measurement in running.curve if measurement.epoch not in running.reported]
        return [(m, None if running.is_calibration else self._calibration.predict(running.number, m)) for m in new]

    def _report_to_optuna(
        self,
        running: RunningTrial,
        news: list[tuple[EpochMeasurement, Prediction | None]],
        is_resumed: bool,
        is_last: bool,
    ) -> str | None:
        """Reports what is new; why the trial should be pruned, None to go on.

        Only numbers in the objective's unit are reported: held-out scores of calibration trials, predicted test scores
        of all others. A trial taken up again is asked about even if nothing is new: the former run may have died over
        the answer. After its last epoch nothing is left to prune.
        """
        if not running.is_calibration and self._calibration.predictor is None:
            return None
        is_to_be_asked = is_resumed and bool(running.reported)
        for measurement, prediction in news:
            if prediction is None:
                assert measurement.holdout_score is not None
                value = measurement.holdout_score
            else:
                running.prediction = prediction
                value = prediction.predicted_test_score
            self._teller.report(running, value, measurement)
            is_to_be_asked = True
        may_be_pruned = is_to_be_asked and not is_last and running.may_be_pruned
        return self._teller.why_prune(running) if may_be_pruned else None

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

    def _calibrate_if_due(self, *, is_final: bool = False) -> None:
        """Fits the calibrator once every calibration trial there will be has ended; then tells who waited for it.

        Where there is one already, it is fitted anew with every calibration trial that ends.
        """
        with self._writer.lock():
            self._learn()
            self._fit_if_due(is_final)
        trained, self._trained = self._trained, []
        for running in trained:
            if self._calibration.predictor is None:
                self._trained.append(running)
            else:
                with self._left_if_ended_elsewhere(running):
                    self._report_to_optuna(running, self._predict_new_epochs(running), is_resumed=False, is_last=True)
                    self._write(running)
                    self._finish(running)

    def _fit_if_due(self, is_final: bool) -> None:
        if self.others.may_exist and self._calibration.reload():
            self._predict_last(self._book.find(TrialState.COMPLETE, TrialState.PRUNED))
        numbers = self._book.find_calibrated()
        curves = {number: self._book.curves[number] for number in numbers}
        if self._calibration.predictor is not None:
            if self._calibration.lacks_any(curves):
                self._calibration.fit(curves)
                self._observer.say(f"calibrator fitted anew, with {len(numbers)} trials of this study")
                self._predict_again()
        elif self._calibration_trials_ended() or (is_final and not self.others.find_trials()):
            try:
                self._calibration.fit(curves)
            except CalibrationError as error:
                self.stopped_because = self.stopped_because or str(error)
            else:
                self._observer.say(f"calibrator fitted on {len(numbers)} trials{self._describe_shortage(len(numbers))}")
                self._predict_last(numbers)

    def _describe_shortage(self, n_trials: int) -> str:
        wanted = self._calibration.n_trials_wanted
        return f" of the {wanted} that calibration.trials asks for" if n_trials < wanted else ""

    def _calibration_trials_ended(self) -> bool:
        if not self._book.all_calibration_ended():
            return False
        if not self._needs_calibration_trial():
            return True
        # A failed one that is to be tried again may still hold out its part.
        return self._book.n_searched >= self._config.study.trials and not has_waiting_retry(self._study)

    def _predict_last(self, numbers: list[int]) -> None:
        """What the new calibrator says of trials that ended before it."""
        for number in numbers:
            if (measurement := self._book.last_measured(number)) is not None:
                self._book.predict(number, self._calibration.predict(number, measurement))

    def _predict_again(self) -> None:
        """What the calibrator, fitted anew, says of all that was said before; Optuna keeps what it was told."""
        self._calibration.predict_all(self._book.curves)
        self._predict_last(self._book.find(TrialState.COMPLETE, TrialState.PRUNED))

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
        status.epochs_left = sum(running.epochs_left for running in [*self._running.values(), *self._waiting])
        status.n_trials = self._config.study.trials + len(self._book.repetitions) + self._n_to_retrain
        n_to_come = 0 if self.enough_because else max(0, self._config.study.trials - self._book.n_searched)
        mean_epochs = self._book.mean_epochs(float(self._config.training.epochs))
        status.epochs_left += (n_to_come + self._n_to_retrain) * mean_epochs
        status.best = self._book.best
        self._observer.show(status)
