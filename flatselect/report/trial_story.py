"""One trial told as plain values: its candidate, its curve, what became of it, and where it stands."""

from collections.abc import Sequence
from typing import Any

from flatselect.errors import SearchError, StoreError
from flatselect.file_location import find_size
from flatselect.records import TrialRecord
from flatselect.report.pruning import list_pruned
from flatselect.report.study_contents import StudyContents
from flatselect.report.study_story import compare, compute_probabilities, make_plain_record
from flatselect.search.trial_history import TrialHistory
from flatselect.store.run_records import CheckpointRecord
from flatselect.store.study_query import Question, ask
from flatselect.store.study_reader import StudyReader

_CURVE = (
    *("epoch", "attempt", "train_score", "train_loss", "relative_gap_flatness", "holdout_score", "test_gap"),
    *("predicted_test_gap", "predicted_test_score", "extrapolation"),
)
_SECONDS = ("train_seconds", "measure_seconds")


def find_history(contents: StudyContents, histories: Sequence[TrialHistory], trial: int | None) -> TrialHistory:
    """The history of one trial, by its number; None is the first of the ranking.

    Raises:
        StoreError: There is no such trial.
        SearchError: None is ranked yet.
    """
    if trial is None:
        if not contents.ranking:
            raise SearchError(
                "no trial of this study is ranked yet; give a number, or let the search finish some first"
            )
        trial = contents.ranking[0]
    for history in histories:
        if history.number == trial:
            return history
    numbers = f"0 to {histories[-1].number}" if histories else "none"
    raise StoreError(f"trial {trial}: there is no such trial (there is {numbers})")


def tell_trial(reader: StudyReader, contents: StudyContents, history: TrialHistory) -> dict[str, Any]:
    """The story of a trial, as `flatselect show --json` prints it. Programs rely on these names: add, never rename.

    The audited score stands under "audit_test_score", beside what was measured and predicted.

    Raises:
        StoreError: The database cannot be used.
    """
    number = history.number
    trial = contents.trials.get(number)  # one that waits has not begun
    attempt = contents.attempts.get(number)
    again = [other.number for other in contents.trials.values() if other.retrains == number]
    waiting = {"number": number, "state": history.state, "params": history.params}
    return {
        "study": contents.name,
        "trial": waiting if trial is None else make_plain_record(trial),
        "reason": history.reason,
        "retried_as": history.retried_as,
        "retrained_as": again[-1] if again else None,
        "planned_epochs": None if trial is None else contents.planned_epochs(number),
        "candidate": attempt.candidate if attempt else None,
        "curve": _read_curve(reader, number),
        "pruned": None if trial is None else _tell_pruned(contents, trial),
        "checkpoint": _tell_checkpoint(reader.checkpoint(number)),
        "standing": _tell_standing(contents, history),
        "audit_test_score": None if trial is None else trial.audit_test_score,
    }


def _read_curve(reader: StudyReader, number: int) -> list[dict[str, Any]]:
    rows = ask(reader.engine, [reader.study_uid], Question(where=f"trial = {number}", of_epochs=True))
    return [
        {name: row[name] for name in _CURVE}
        | {
            "predicted_test_score_interval": None
            if row["predicted_test_score_low"] is None
            else [row["predicted_test_score_low"], row["predicted_test_score_high"]],
            "seconds": sum(row[name] or 0.0 for name in _SECONDS),
        }
        for row in sorted(rows, key=lambda row: int(row["epoch"]))
    ]


def _tell_pruned(contents: StudyContents, trial: TrialRecord) -> dict[str, Any] | None:
    for one in list_pruned(contents):
        if one.trial.number == trial.number:
            return {
                "reason": one.reason or None,
                "epoch": one.epoch,
                "planned_epochs": one.planned_epochs,
                "bound": one.bound,
                "needed": one.needed,
                "short_by": None if one.bound is None or one.needed is None else one.needed - one.bound,
                "saved_seconds": one.saved_seconds,
            }
    return None


def _tell_checkpoint(checkpoint: CheckpointRecord | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    error = None
    found: int | None = None
    try:
        found = find_size(checkpoint.path)
    except OSError as refusal:
        error = str(refusal)
    return {
        "path": checkpoint.path,
        "epoch": checkpoint.epoch,
        "bytes": checkpoint.size,
        "found_bytes": found,
        "error": error,
        "deleted_at": None if checkpoint.deleted_at is None else checkpoint.deleted_at.isoformat(),
    }


def _tell_standing(contents: StudyContents, history: TrialHistory) -> dict[str, Any]:
    """Its place in the ranking, its neighbours, and how it compares to the first."""
    ranking, number = contents.ranking, history.number
    if number not in ranking:
        return {"rank": None, "n_ranked": len(ranking), "unranked_because": _explain_unranked(contents, history)}
    place = ranking.index(number)
    best, own = contents.ranked[0], contents.trials[number]
    return {
        "rank": place + 1,
        "n_ranked": len(ranking),
        "unranked_because": None,
        "is_on_pareto_front": None if contents.pareto_front is None else number in contents.pareto_front,
        "probability_best": compute_probabilities(contents).get(number),
        "neighbours": [
            {"rank": other + 1, **_tell_other(contents.trials[ranking[other]])}
            for other in (place - 1, place + 1)
            if 0 <= other < len(ranking)
        ],
        "best": {**_tell_other(best), **_compare(contents, own, best)},
    }


def _compare(contents: StudyContents, own: TrialRecord, best: TrialRecord) -> dict[str, float | None]:
    """How far a trial is behind the first, and how probably it is the better of the two."""
    compared: dict[str, float | None] = {"behind_by": None, "probability_better": None}
    if own is best or own.prediction is None or best.prediction is None or contents.calibrator is None:
        return compared
    compared["behind_by"] = best.prediction.predicted_test_score - own.prediction.predicted_test_score
    chances = compare([own, best], contents.calibrator.calibrator.coverage)
    if len(chances) > 1:
        compared["probability_better"] = chances[own.number]
    return compared


def _tell_other(trial: TrialRecord) -> dict[str, Any]:
    predicted = trial.prediction
    return {
        "number": trial.number,
        "predicted_test_score": predicted and predicted.predicted_test_score,
        "predicted_test_score_interval": predicted and list(predicted.predicted_test_score_interval),
        "train_score": trial.measurement and trial.measurement.train_score,
    }


def _explain_unranked(contents: StudyContents, history: TrialHistory) -> str:
    match history.state:
        case "WAITING":
            return "it has not begun"
        case "RUNNING":
            return "it has not ended"
        case "FAIL":
            return "it failed"
        case "PRUNED":
            return "it was pruned before anything was predicted of it"
    again = [trial.number for trial in contents.trials.values() if trial.retrains == history.number]
    return f"trial {again[-1]}, which trained it again on all images, stands for it" if again else "it was not measured"
