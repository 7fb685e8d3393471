"""A search that is looked on at: as a table that renews itself, as lines, and for programs."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from flatselect.cli.output import EXTRAPOLATION_HINT, format_number, make_pairs, make_table, make_text
from flatselect.cli.progress import format_seconds
from flatselect.search.watching import WatchedStudy
from flatselect.store.run_records import RunRecord
from flatselect.store.study_progress import TrialProgress

_N_ENDED = 5
_REASON_LENGTH = 120
_LEAST_ROWS = 3


def make_view(watched: WatchedStudy, height: int | None = None) -> Group:
    """All that is known, no higher than so many lines where rows can be left out."""
    title = make_text(f"{watched.study}: {describe_counts(watched)}", "bold")
    parts: list[Table | Text] = [title, make_pairs(_list_facts(watched))]
    ended = watched.ended[:_N_ENDED]
    rows = [*watched.running, *ended]
    if height is not None:
        rows = rows[: max(_LEAST_ROWS, (height - 12) // 2)]
    if rows:
        parts += [Text(), _make_table(rows, watched.living)]
    if (n_left_out := len(watched.running) - len(rows)) > 0:
        parts.append(make_text(f"and {n_left_out} more that run", "dim"))
    if any(trial.extrapolation for trial in [*rows, *([watched.best] if watched.best else [])]):
        parts.append(make_text(EXTRAPOLATION_HINT, "dim"))
    return Group(*parts)


def describe_counts(watched: WatchedStudy) -> str:
    """`7 of 16 trials ended: 5 complete, 1 pruned, 1 failed; 2 running, 7 to come`."""
    counts = watched.counts
    again = f" and {counts.begun_repetitions} again" if counts.begun_repetitions else ""
    ended = f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
    return (
        f"{counts.ended} of {watched.n_wanted}{again} trials ended: {ended}; {counts.running} running, "
        f"{watched.n_to_come} to come"
    )


def list_news(before: WatchedStudy | None, now: WatchedStudy) -> list[str]:
    """What has changed since the look before, one line each; the first look says where the study stands."""
    if before is None:
        return [f"{now.study}: {describe_counts(now)}", *map(_describe_driver, now.living)]
    news = []
    for trial in reversed(now.ended[: max(0, now.counts.ended - before.counts.ended)]):
        news.append(f"trial {trial.number}: {_describe_end(trial)}")
    known = {(trial.number, trial.attempt) for trial in before.running}
    for trial in now.running:
        if (trial.number, trial.attempt) not in known:
            attempt = f", attempt {trial.attempt}" if trial.attempt > 1 else ""
            network = f": {trial.model}" if trial.model else ""
            news.append(f"trial {trial.number} began{attempt}{network}")
    living = {run.uid for run in before.living}
    news += [_describe_driver(run) for run in now.living if run.uid not in living]
    if (best := _describe_best(now)) and best != _describe_best(before):
        news.append(f"best: {best}")
    return [f"{now.counts.ended}/{now.n_wanted} {line}" for line in news]


def make_record(watched: WatchedStudy) -> dict[str, Any]:
    """The object of `--once --json`. Programs rely on these names: add, never rename."""
    counts = watched.counts
    return {
        "study": watched.study,
        "trials": {
            "wanted": watched.n_wanted,
            "complete": counts.complete,
            "pruned": counts.pruned,
            "failed": counts.failed,
            "running": counts.running,
            "to_come": watched.n_to_come,
            "repetitions": counts.begun_repetitions,
        },
        "is_searched": bool(watched.living),
        "over_because": watched.over_because,
        "drivers": [
            {
                "host": run.host,
                "pid": run.pid,
                "backend": run.backend,
                "started_at": run.started_at.isoformat(timespec="seconds") + "Z",
                "silent_seconds": round(run.silent_seconds, 3),
            }
            for run in watched.living
        ],
        "workers": {"busy": watched.n_busy, "most": watched.n_workers},
        "seconds_left": watched.seconds_left,
        "best": None if watched.best is None else _make_trial_record(watched.best),
        "running": [_make_trial_record(trial) for trial in watched.running],
        "ended_last": [_make_trial_record(trial) for trial in watched.ended[:_N_ENDED]],
    }


def _make_trial_record(trial: TrialProgress) -> dict[str, Any]:
    interval = trial.predicted_test_score_interval
    return {
        "number": trial.number,
        "state": trial.state,
        "model": trial.model,
        "is_calibration": trial.is_calibration,
        "attempt": trial.attempt,
        "epochs": trial.epochs,
        "planned_epochs": trial.planned_epochs,
        "seconds_an_epoch": trial.seconds_an_epoch,
        "train_score": trial.train_score,
        "predicted_test_score": trial.predicted_test_score,
        "predicted_test_score_interval": None if interval is None else list(interval),
        "extrapolation": trial.extrapolation if interval is not None else None,
        "reason": trial.reason,
    }


def _list_facts(watched: WatchedStudy) -> dict[str, str]:
    facts = {}
    if watched.living:
        facts["driver"] = "\n".join(_describe_driver(run) for run in watched.living)
        most = "" if watched.n_workers is None else f" of at most {watched.n_workers}"
        facts["workers"] = f"{watched.n_busy}{most} busy"
        facts["time left"] = _describe_time_left(watched)
    else:
        facts["ended"] = str(watched.over_because)
    facts["best"] = _describe_best(watched) or "none yet: nothing is predicted before the calibration is made"
    return facts


def _describe_time_left(watched: WatchedStudy) -> str:
    if watched.seconds_left is not None:
        return f"about {format_seconds(watched.seconds_left)}"
    if watched.counts.running or watched.n_to_come:
        return "unknown until this run has ended a trial"
    return "unknown"


def _describe_driver(run: RunRecord) -> str:
    silent = f"last sign of life {format_seconds(max(0.0, run.silent_seconds))} ago"
    return f"process {run.pid} on {run.host} ({run.backend}), {silent}"


def _describe_best(watched: WatchedStudy) -> str:
    """Nothing while there is none."""
    if (best := watched.best) is None:
        return ""
    others = f"; the study minimises {' and '.join(watched.minimized)} too" if watched.minimized else ""
    pruned = ", pruned" if best.state == "PRUNED" else ""
    return f"trial {best.number}{pruned}, {_describe_score(best)}, {best.model or 'network not known'}{others}"


def _describe_score(trial: TrialProgress) -> str:
    if trial.predicted_test_score is None or trial.predicted_test_score_interval is None:
        return "nothing predicted" if trial.train_score is None else f"training score {trial.train_score:.4f}"
    low, high = trial.predicted_test_score_interval
    mark = "?" * trial.extrapolation
    return f"predicted test score {trial.predicted_test_score:.4f}{mark} [{low:.4f}, {high:.4f}]"


def _describe_end(trial: TrialProgress) -> str:
    if trial.state == "FAIL":
        reason = (trial.reason or "no reason is known").splitlines()[0][:_REASON_LENGTH]
        return f"failed after {trial.epochs} epochs: {reason}"
    role = ", calibration trial" if trial.is_calibration else ""
    return f"{trial.state.lower()} after {trial.epochs} epochs{role}, {_describe_score(trial)}"


def _make_table(trials: list[TrialProgress], living: tuple[RunRecord, ...]) -> Table:
    drivers = {run.uid: f"driver {run.host}:{run.pid}" for run in living} if len(living) > 1 else {}
    table = make_table(
        ["trial", "state"], "network", ["epoch", "train\nscore", "predicted\ntest\nscore", "s an\nepoch"]
    )
    for trial in trials:
        is_running = trial.state == "RUNNING"
        planned = f"/{trial.planned_epochs}" if trial.planned_epochs else ""
        notes = [
            trial.model,
            "calibration trial" if trial.is_calibration and is_running else "",
            f"attempt {trial.attempt}" if trial.attempt > 1 else "",
            drivers.get(trial.run_uid or "", "") if is_running else "",
            (trial.reason or "").splitlines()[0][:_REASON_LENGTH] if trial.state == "FAIL" and trial.reason else "",
        ]
        predicted = ""
        if trial.predicted_test_score is not None and trial.predicted_test_score_interval is not None:
            low, high = trial.predicted_test_score_interval
            predicted = f"{trial.predicted_test_score:.4f}{'?' * trial.extrapolation}\n±{(high - low) / 2:.3f}"
        cells = [
            str(trial.number),
            trial.state.lower(),
            "\n".join(filter(None, notes)),
            f"{trial.epochs}{planned}",
            format_number(trial.train_score),
            predicted,
            format_number(trial.seconds_an_epoch, ".3g"),
        ]
        table.add_row(*(make_text(cell) for cell in cells), style="" if is_running else "dim")
    return table
