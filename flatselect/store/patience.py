"""Waiting out a database that does not answer: one that restarts, or is gone for some minutes."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

Result = TypeVar("Result")

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0
# PostgreSQL's classes: connection lost, out of resources (disk, connections), operator intervention (a shutdown);
# and the two codes of a transaction that lost against another and is to be tried again.
_PASSING_CLASSES = ("08", "53", "57")
_PASSING_CODES = ("40001", "40P01")


class Patience:
    """Repeats what a database refused because it was not there, with longer and longer pauses.

    A statement may have been carried out though its answer was lost, so what is repeated must come to the same when it
    is done twice. One of these serves every connection of a process, from any thread.

    Attributes:
        seconds: How long one call is repeated; 0 not at all.
        say: Is told when the waiting begins and ends.
    """

    def __init__(self, seconds: float = 0.0, say: Callable[[str], None] = lambda message: None) -> None:
        self.seconds = seconds
        self.say = say
        self._is_given_up = False

    def give_up(self) -> None:
        """From now on nothing is repeated: whoever waits is to come to an end."""
        self._is_given_up = True

    def call(self, work: Callable[[], Result], find_cause: Callable[[Exception], Exception | None]) -> Result:
        """Calls `work` until it returns.

        Args:
            work: Is called again after an error that passes by itself.
            find_cause: The database's own error in one that `work` raised, None if it is something else.

        Raises:
            Exception: What `work` raised last: not of an absent database, or of one that was absent for `seconds`.
        """
        started, pause = time.monotonic(), _FIRST_PAUSE
        is_waiting = False
        while True:
            try:
                result = work()
            except Exception as error:
                cause = find_cause(error)
                waited = time.monotonic() - started
                if cause is None or not is_passing(cause) or self._is_given_up or waited + pause > self.seconds:
                    raise
                if not is_waiting and pause > _FIRST_PAUSE:  # a second try is no news
                    is_waiting = True
                    self.say(
                        f"the database does not answer ({describe_cause(cause)}); trying again for up to "
                        f"{self.seconds:.0f} s, nothing is lost"
                    )
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if is_waiting:
                    self.say(f"the database answers again, after {time.monotonic() - started:.0f} s")
                return result

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_given_up and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


IMPATIENT = Patience()


def is_passing(error: Exception) -> bool:
    """Whether the same statement may succeed later: nobody answers, a lock is held, a transaction lost a race."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)
    code = getattr(error.orig, "sqlstate", None)
    if code is None:  # nobody was reached who could have said one
        return type(error.orig).__name__ in ("OperationalError", "ConnectionTimeout")
    return code.startswith(_PASSING_CLASSES) or code in _PASSING_CODES


def describe_cause(error: Exception) -> str:
    """The first line of what the database's driver said."""
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
