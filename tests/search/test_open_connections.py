"""A process that searches or reads studies again and again does not fill up with connections to databases."""

from collections.abc import Iterator

import pytest
from searching import MakeStudy, StopAfter
from sqlalchemy import event
from sqlalchemy.pool import Pool

import flatselect
from flatselect.errors import FlatselectError


@pytest.fixture
def connections() -> Iterator[set[int]]:
    """Those that are open, of all that were made since the test began."""
    made: set[int] = set()

    def add(connection: object, record: object) -> None:
        made.add(id(connection))

    def remove(connection: object, record: object) -> None:
        made.discard(id(connection))

    event.listen(Pool, "connect", add)
    event.listen(Pool, "close", remove)
    event.listen(Pool, "close_detached", remove_detached := lambda connection: made.discard(id(connection)))
    yield made
    event.remove(Pool, "connect", add)
    event.remove(Pool, "close", remove)
    event.remove(Pool, "close_detached", remove_detached)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_what_has_ended_has_closed_its_connections(
    make_study: MakeStudy, request: pytest.FixtureRequest, connections: set[int], database: str
) -> None:
    elsewhere = [f"study.storage={request.getfixturevalue('postgresql_url')}"] if database == "postgresql" else []
    config = make_study("study.trials=5", *elsewhere)
    with pytest.raises(KeyboardInterrupt):
        flatselect.run_search(config, observer=StopAfter(2))
    assert connections == set()
    with pytest.raises(FlatselectError, match="seed"):
        flatselect.run_search(make_study("study.seed=6", *elsewhere))
    assert connections == set()
    result = flatselect.run_search(config)
    assert connections == set()
    with flatselect.open_study(config.study.storage) as study:
        assert len(study.trials()) == len(result.trials)
        assert connections != set()
    assert connections == set()
    with pytest.raises(FlatselectError, match="tini"):
        flatselect.open_study(config.study.storage, "tini")
    assert connections == set()
