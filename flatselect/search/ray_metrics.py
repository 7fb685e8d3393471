"""What a search comes to, as metrics of Ray's: Prometheus reads them beside Ray's own (`ray.metrics`)."""

from ray.util.metrics import Counter, Gauge

from flatselect.search.events import SearchObserver, SearchStatus

_STUDY, _STATE = ("study",), ("study", "state")


class MeteredObserver:
    """Passes everything on, and counts it; Ray puts `ray_` before the names.

    - `flatselect_trials`: by state `complete`, `pruned`, `failed`, `running`, `to_come`.
    - `flatselect_epochs_total`: trained by this run.
    - `flatselect_best_predicted_test_score`: of the best finished trial, once there is one.
    """

    def __init__(self, observer: SearchObserver, study: str) -> None:
        """To be made when Ray runs: what is counted before is lost."""
        self._observer = observer
        self._tags = {"study": study}
        self._trials = Gauge("flatselect_trials", "Trials of the study, by state.", _STATE)
        self._epochs = Counter("flatselect_epochs", "Epochs trained by this run of the search.", _STUDY)
        self._best = Gauge(
            "flatselect_best_predicted_test_score", "Predicted test score of the best finished trial.", _STUDY
        )
        self._n_epochs_counted = 0

    def show(self, status: SearchStatus) -> None:
        n_ended = status.n_done + status.n_pruned + status.n_failed
        states = {
            "complete": status.n_done,
            "pruned": status.n_pruned,
            "failed": status.n_failed,
            "running": len(status.running),
            "to_come": max(0, status.n_trials - n_ended - len(status.running)),
        }
        for state, n_trials in states.items():
            self._trials.set(n_trials, {**self._tags, "state": state})
        if (n_new := status.n_epochs_run - self._n_epochs_counted) > 0:
            self._epochs.inc(n_new, self._tags)
            self._n_epochs_counted = status.n_epochs_run
        if status.best is not None:
            self._best.set(status.best[1].predicted_test_score, self._tags)
        self._observer.show(status)

    def say(self, message: str) -> None:
        self._observer.say(message)
