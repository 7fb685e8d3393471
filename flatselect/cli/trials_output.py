"""Attempts as a table and as records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from flatselect.cli.output import make_table, make_text
from flatselect.search.trial_history import TrialHistory

_REASON_LENGTH = 200


def make_records(histories: Sequence[TrialHistory], *, with_traceback: bool = False) -> list[dict[str, Any]]:
    """One flat record for each attempt; a trial that was never started has one too, without an attempt."""
    return [
        {
            "trial": trial.number,
            "state": trial.state,
            "attempt": attempt and attempt.attempt,
            "outcome": attempt.outcome if attempt else trial.state.lower(),
            "epochs": attempt.epochs if attempt else 0,
            "host": attempt and attempt.run.host,
            "pid": attempt and attempt.run.pid,
            "backend": attempt and attempt.run.backend,
            "started_at": attempt and _format_time(attempt.started_at) + "Z",
            "seconds": attempt and round(attempt.seconds, 3),
            "reason": attempt.reason if attempt else trial.reason,
            "is_calibration": trial.is_calibration,
            "retrains": trial.retrains,
            "retries": trial.retries,
            "retried_as": trial.retried_as,
            **({"traceback": attempt.traceback if attempt else ""} if with_traceback else {}),
        }
        for trial in histories
        for attempt in trial.attempts or (None,)
    ]


def make_attempt_table(histories: Sequence[TrialHistory]) -> Table:
    """A line for each attempt."""
    table = make_table(["trial", "attempt", "outcome", "started\n(UTC)"], "driver and reason", ["epochs", "seconds"])
    for trial in histories:
        for attempt in trial.attempts or (None,):
            reason = attempt.reason if attempt else trial.reason
            shown = [
                f"{attempt.run.host}:{attempt.run.pid}" if attempt else "",
                f"trial {trial.retries} tried again" if trial.retries is not None else "",
                reason.splitlines()[0][:_REASON_LENGTH] if reason else "",
            ]
            cells = [
                str(trial.number),
                str(attempt.attempt) if attempt else "",
                attempt.outcome if attempt else trial.state.lower(),
                f"{attempt.started_at:%m-%d %H:%M}" if attempt else "",
                "\n".join(filter(None, shown)),
                str(attempt.epochs) if attempt else "",
                f"{attempt.seconds:.1f}" if attempt else "",
            ]
            table.add_row(*map(make_text, cells))
    return table


def _format_time(time: datetime) -> str:
    return time.isoformat(sep="T", timespec="seconds")
