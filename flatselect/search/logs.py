"""Log files of a search: a folder for each study, a file for each process, lines for people or JSON for programs."""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flatselect.config import StudySection
from flatselect.errors import SearchError
from flatselect.search.events import SearchObserver, SearchStatus
from flatselect.store.finite_json import replace_non_finite

LOGGER = logging.getLogger("flatselect")


def log_event(event: str, *, error: Exception | None = None, **fields: Any) -> None:
    """Writes one event, or an error with its traceback; in JSON its fields stand beside it, for people after it."""
    LOGGER.log(logging.ERROR if error else logging.INFO, event, exc_info=error, extra={"fields": fields})


def start_log(options: StudySection, study_uid: str, role: str) -> logging.Handler | None:
    """From now on this process's log goes into a file of its own, other packages' warnings too; None without `logs`.

    Args:
        options: `logs` is the folder of all studies' logs, `log_json` the form.
        study_uid: Whose folder it is.
        role: "driver" or "worker".

    Raises:
        SearchError: The folder cannot be written.
    """
    if options.logs is None:
        return None
    folder = Path(options.logs) / f"{options.name}-{study_uid[:8]}"
    ending = "jsonl" if options.log_json else "log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / f"{role}-{socket.gethostname()}-{os.getpid()}.{ending}")
    except OSError as error:
        raise SearchError(f"study.logs = {options.logs}: cannot be written ({error}); give another folder") from None
    handler.setFormatter(_JsonFormatter() if options.log_json else _LineFormatter())
    logging.getLogger().addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    return handler


@contextlib.contextmanager
def keep_log(options: StudySection, study_uid: str) -> Iterator[None]:
    """The driver's log while the block lasts."""
    handler = start_log(options, study_uid, "driver")
    try:
        yield
    finally:
        if handler is not None:
            logging.getLogger().removeHandler(handler)
            handler.close()


class LoggingObserver:
    """Logs what another observer is told."""

    def __init__(self, observer: SearchObserver) -> None:
        self._observer = observer

    def show(self, status: SearchStatus) -> None:
        self._observer.show(status)

    def say(self, message: str) -> None:
        log_event(message)
        self._observer.say(message)


class _LineFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _get_fields(record).items())
        line, *traceback = super().format(record).split("\n")
        return "\n".join([line + fields, *traceback])


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "host": socket.gethostname(),
            "pid": record.process,
            "event": record.getMessage(),
            **_get_fields(record),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(replace_non_finite(values), ensure_ascii=False, default=str)


def _get_fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", {})
