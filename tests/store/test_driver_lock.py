"""The lock between drivers, on a real server."""

import threading
import time

import pytest

from flatselect.store import engine as engine_module
from flatselect.store.driver_lock import hold_lock
from flatselect.store.engine import make_engine

pytestmark = pytest.mark.postgresql


@pytest.fixture
def engines(postgresql_url):
    """Of two drivers."""
    engines = [make_engine(postgresql_url) for _ in range(2)]
    yield engines
    for engine in engines:
        engine.dispose()


def test_a_block_is_entered_by_one_driver_at_a_time(engines):
    inside, most = 0, 0

    def enter(engine):
        nonlocal inside, most
        for _ in range(5):
            with hold_lock(engine, "study"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

    threads = [threading.Thread(target=enter, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_other_studies_are_not_locked(engines):
    with hold_lock(engines[0], "one"), hold_lock(engines[1], "other"):
        pass


def test_a_driver_that_hangs_in_a_block_loses_the_lock(postgresql_url, monkeypatch):
    monkeypatch.setattr(engine_module, "_HUNG_SECONDS", 1)
    hung, other = make_engine(postgresql_url), make_engine(postgresql_url)
    entered = []
    with hold_lock(hung, "study"):  # and says nothing more to the server
        taker = threading.Thread(target=lambda: entered.append(_enter(other)))
        taker.start()
        taker.join(timeout=30)
        assert entered == ["entered"]
    with hold_lock(hung, "study"):  # what it is left with is a connection that the pool makes anew
        pass
    hung.dispose()
    other.dispose()


def _enter(engine):
    with hold_lock(engine, "study"):
        return "entered"
