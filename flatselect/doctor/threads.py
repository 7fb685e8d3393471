"""Threads and workers against the cores they share."""

import os

import psutil

from flatselect.config import RaySection
from flatselect.doctor.finding import Finding

_VARIABLE = "OMP_NUM_THREADS"


def count_cores() -> int:
    """The cores that this process may use: fewer than the machine's, where it is bound to some."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # there is none on macOS
    return len(affinity()) if affinity else os.cpu_count() or 1


def check_threads(options: RaySection, n_cores: int | None = None) -> Finding:
    """Whether the workers of this machine, each with its threads, get by with its cores.

    Args:
        options: The study's `[ray]`.
        n_cores: Default: what this process may use.
    """
    n_cores = n_cores or count_cores()
    n_workers = 1 if options.backend == "inline" else options.workers or max(1, int(n_cores / options.cpus_per_trial))
    workers = f"{n_workers} worker{'s' * (n_workers > 1)} on {n_cores} core{'s' * (n_cores > 1)}"
    setting = os.environ.get(_VARIABLE)
    if setting is None:
        threads = max(1, int(options.cpus_per_trial))
    elif setting.isdecimal() and int(setting) > 0:
        threads = int(setting)
    else:
        found = f"{_VARIABLE} = {setting!r} is not a number of threads and is ignored"
        return Finding("threads", "warning", found, f"unset {_VARIABLE}, or set it to 1")
    found = f"{workers}, {_VARIABLE} {'is not set' if setting is None else f'= {threads}'}"
    if n_workers > n_cores:
        return Finding("threads", "warning", f"{found}: each worker will be slower", f"use --workers {n_cores}")
    if setting is not None and n_workers * threads > n_cores:
        remedy = f"unset {_VARIABLE}, or set it to {max(1, n_cores // n_workers)}"
        return Finding("threads", "warning", f"{found}: {n_workers * threads} threads wait for each other", remedy)
    return Finding("threads", "ok", found)
