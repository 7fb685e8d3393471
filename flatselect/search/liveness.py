"""Whether the process that drives a study, or drove it, is alive."""

import datetime
import os
import socket
import uuid
from pathlib import Path

import psutil

from flatselect.search.heartbeat import is_beating
from flatselect.store.study_reader import RunRecord

STALE_SECONDS = 60.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_SPACE = Path("/proc/self/ns/pid")


def is_alive(run: RunRecord) -> bool:
    """A run is alive while it beats. Of a process on this machine, the process itself tells its death at once."""
    if run.ended_at is not None:
        return False
    if run.host == socket.gethostname() and run.machine in ("", identify_machine()):
        if run.pid == os.getpid():
            return is_beating(run.uid)  # a notebook's process outlives its searches
        if not _is_process_alive(run):
            return False
    # One that hangs, or was stopped, is as good as dead: should it wake up, it finds its run ended and stops.
    return run.silent_seconds < STALE_SECONDS


def describe_living(run: RunRecord) -> str:
    """Who searches the study, after its name in a message."""
    return (
        f"is being searched by process {run.pid} on {run.host} "
        f"(last sign of life {run.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC)"
    )


def read_clock() -> datetime.datetime:
    """Now, in UTC without a zone, as the database has it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def identify_machine() -> str:
    """What tells a process number of here from the same one elsewhere: machines and containers may share a name."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {_PROCESS_SPACE.readlink()}"
    except OSError:  # not Linux
        return f"{uuid.getnode():x}"


def _is_process_alive(run: RunRecord) -> bool:
    try:
        process = psutil.Process(run.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False  # dead, and its parent has not asked yet; in a container perhaps never does
        started = datetime.datetime.fromtimestamp(process.create_time(), datetime.UTC)
    except psutil.NoSuchProcess:
        return False
    # A process younger than the run's last sign of life has only inherited its number.
    return started.replace(tzinfo=None) <= run.heartbeat_at
