"""Threads and workers against cores."""

import pytest

from flatselect.config import RaySection
from flatselect.doctor.threads import check_threads, count_cores


@pytest.mark.parametrize(
    ("options", "setting", "verdict", "words"),
    [
        ({}, None, "ok", "8 workers on 8 cores, OMP_NUM_THREADS is not set"),
        ({}, "1", "ok", "OMP_NUM_THREADS = 1"),
        ({"cpus_per_trial": 4}, "4", "ok", "2 workers on 8 cores"),
        ({"backend": "inline"}, "8", "ok", "1 worker on 8 cores"),
        ({}, "8", "warning", "64 threads wait for each other"),
        ({"workers": 16}, None, "warning", "16 workers on 8 cores"),
        ({}, "many", "warning", "'many' is not a number of threads"),
        ({}, "0", "warning", "'0' is not a number of threads"),
    ],
)
def test_threads(options, setting, verdict, words, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if setting is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
    finding = check_threads(RaySection(**options), n_cores=8)
    assert finding.verdict == verdict
    assert words in finding.found
    assert (finding.remedy is None) == (verdict == "ok")


def test_cores_are_counted():
    assert count_cores() >= 1
