"""Whether the process that drives a study, or drove it, is alive."""

import datetime
import socket

import psutil

from flatselect.store.study_reader import RunRecord

STALE_SECONDS = 60.0


def is_alive(run: RunRecord) -> bool:
    """On this machine the process itself tells; of another one only its heartbeat is known."""
    if run.ended_at is not None:
        return False
    if run.host == socket.gethostname():
        try:
            started = datetime.datetime.fromtimestamp(psutil.Process(run.pid).create_time(), datetime.UTC)
        except psutil.NoSuchProcess:
            return False
        # A process younger than the run's last sign of life has only inherited its number.
        return started.replace(tzinfo=None) <= run.heartbeat_at
    return (read_clock() - run.heartbeat_at).total_seconds() < STALE_SECONDS


def describe_living(run: RunRecord) -> str:
    """Who searches the study, after its name in a message."""
    return (
        f"is being searched by process {run.pid} on {run.host} "
        f"(last sign of life {run.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC)"
    )


def read_clock() -> datetime.datetime:
    """Now, in UTC without a zone, as the database has it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
