"""What a search ends with."""

from dataclasses import dataclass
from typing import Any

from flatselect.config import StudySection
from flatselect.ranking import find_pareto_front, rank_trials
from flatselect.records import TrialRecord
from flatselect.search.study_identity import OpenStudy
from flatselect.store.engine import hide_password


@dataclass(frozen=True)
class SearchResult:
    """A study as it stands.

    Attributes:
        calibrator: What is known of the study's calibrator, None if there is none yet.
        ranking: Trial numbers, best predicted test score first; audit scores have no part in it.
        pareto_front: Trial numbers that no other beats in every objective; None unless `study.minimize` names costs.
        enough_because: Why no more trials were started though there were to be more (`study.stop_improvement`).
        stopped_because: Why the search ended before its time; None if it did not.
        interrupted: Whether it was stopped by a signal and can be gone on with.
    """

    study: str
    storage: str
    calibrator: dict[str, Any] | None
    trials: list[TrialRecord]
    ranking: list[int]
    pareto_front: list[int] | None = None
    enough_because: str | None = None
    stopped_because: str | None = None
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """The object that `flatselect search --json` prints. Programs rely on these names: add, never rename."""
        return {
            "study": self.study,
            "storage": self.storage,
            "calibrator": self.calibrator,
            "trials": [trial.to_json() for trial in self.trials],
            "ranking": self.ranking,
            "pareto_front": self.pareto_front,
            "enough_because": self.enough_because,
            "stopped_because": self.stopped_because,
            "interrupted": self.interrupted,
        }


def read_result(
    opened: OpenStudy,
    options: StudySection,
    *,
    enough_because: str | None = None,
    stopped_because: str | None = None,
    interrupted: bool = False,
) -> SearchResult:
    """Reads the study's result from its database."""
    calibrator = opened.reader.latest_calibrator()
    trials = opened.reader.trials(include_audits=True)
    return SearchResult(
        study=opened.study.study_name,
        storage=hide_password(str(options.storage)),
        calibrator={"uid": calibrator[0], **calibrator[2]} if calibrator else None,
        trials=trials,
        ranking=rank_trials(trials),
        pareto_front=find_pareto_front(trials, options.minimize) if options.minimize else None,
        enough_because=enough_because,
        stopped_because=stopped_because,
        interrupted=interrupted,
    )
