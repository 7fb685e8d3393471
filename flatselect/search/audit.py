"""The audit: true test scores of the trials, measured after every decision is made and used for none."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from flatselect.data.dataset import Dataset
from flatselect.search.events import SearchObserver, SearchStatus
from flatselect.search.protocol import LOADER_LOST, AuditReply, AuditRequest, Backend, WorkerLost
from flatselect.search.study_identity import OpenStudy

_ATTEMPTS = 2


@dataclass
class _Asked:
    request: AuditRequest
    attempts_left: int
    since: float


def find_unaudited(opened: OpenStudy, audit_set: Dataset) -> list[AuditRequest]:
    """Ended trials whose weights are kept and have not been audited on these images."""
    audited = opened.reader.audited_on(audit_set.fingerprint)
    kept = opened.reader.kept_checkpoints()
    return [
        AuditRequest(trial.number, dict(trial.params), kept[trial.number].path)
        for trial in opened.study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED") and trial.number in kept and trial.number not in audited
    ]


def audit_trials(
    opened: OpenStudy,
    backend: Backend,
    audit_set: Dataset,
    observer: SearchObserver,
    status: SearchStatus,
    should_stop: Callable[[], bool],
    time_limit: float | None = None,
) -> None:
    """Evaluates the last weights of every ended trial that has none yet on the audit images.

    Args:
        opened: The study.
        backend: Its workers.
        audit_set: The images.
        observer: Is told what goes wrong.
        status: Is brought up to date.
        should_stop: Asked about once a second.
        time_limit: Seconds that one trial's audit may take; None for any.
    """
    waiting = deque((request, _ATTEMPTS) for request in find_unaudited(opened, audit_set))
    status.phase, status.n_to_audit = "auditing", len(waiting)
    shared = backend.share(audit_set)
    asked: dict[int, _Asked] = {}
    while (waiting or asked) and not should_stop():
        while waiting and backend.idle:
            worker = backend.idle.popleft()
            request, attempts_left = waiting.popleft()
            asked[worker] = _Asked(request, attempts_left, time.monotonic())
            backend.request(worker, "audit", request, shared)
        backend.scale(len(waiting) + len(asked))
        observer.show(status)
        for worker, reply in backend.wait(timeout=1.0):
            was_asked = asked.pop(worker)
            request = was_asked.request
            if not isinstance(reply, WorkerLost):
                backend.idle.append(worker)
            if isinstance(reply, AuditReply) and reply.score is not None:
                opened.writer.add_audit(reply.number, reply.score, reply.loss, reply.n_images, audit_set.fingerprint)
            elif isinstance(reply, AuditReply) and reply.failure and reply.failure.kind != LOADER_LOST:
                observer.say(f"trial {request.number}: not audited, {reply.failure}")
            elif was_asked.attempts_left > 1:
                waiting.append((request, was_asked.attempts_left - 1))
                continue
            else:
                observer.say(f"trial {request.number}: not audited, its worker or data loader died {_ATTEMPTS} times")
            status.n_audited += 1
        for worker, overdue in list(asked.items()):
            if time_limit is not None and time.monotonic() - overdue.since > time_limit:
                del asked[worker]
                backend.dismiss(worker)
                observer.say(
                    f"trial {overdue.request.number}: not audited, it took more than {time_limit:g} seconds "
                    "(study.trial_timeout)"
                )
                status.n_audited += 1
    observer.show(status)
