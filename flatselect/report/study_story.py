"""A study told as plain values: what was tried, what was given up and why, what is best and how sure that is."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flatselect.ranking.probability_best import compute_probability_best
from flatselect.records import TrialRecord, read_costs
from flatselect.report.pruning import PrunedTrial, compute_cost, list_pruned
from flatselect.report.study_contents import StudyContents
from flatselect.search.liveness import is_alive
from flatselect.search.trial_history import TrialHistory
from flatselect.store.run_records import RunRecord

_N_TOP = 5
# The others have next to no chance, and the time it takes grows with the square.
_MOST_COMPARED = 200
_REFERENCE = re.compile(
    r"the (median|upper quartile|best) of the \d+ (finished trials(?: that are as good in all other objectives)?)"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def tell_study(contents: StudyContents, histories: Sequence[TrialHistory]) -> dict[str, Any]:
    """The story of a study, as `flatselect show --json` prints it. Programs rely on these names: add, never rename.

    Audited scores stand under "audit" alone.

    Args:
        contents: Of the study.
        histories: Of every trial, those that wait too.
    """
    calibrator = contents.calibrator.describe() if contents.calibrator else None
    return {
        "study": contents.name,
        "storage": contents.storage,
        "data": _tell_data(contents.data),
        "search_space": contents.config.get("search_space", {}),
        "objectives": ["predicted_test_score", *read_costs(contents.config)],
        "trials": _count_trials(contents, histories),
        "search": _tell_runs(contents),
        "cost": _tell_cost(contents),
        "pruned": _group_pruned(list_pruned(contents)),
        "best": _tell_best(contents),
        "pareto_front": _tell_front(contents),
        "calibrator": calibrator,
        "calibration": _tell_calibration(contents),
        "failed": _group_failed(contents, histories),
        "audit": tell_audit(contents.trials.values()),
    }


def make_plain_record(trial: TrialRecord) -> dict[str, Any]:
    """A trial's own record without its audited score, which has no part in anything before the audit."""
    return {name: value for name, value in trial.to_json().items() if name != "audit_test_score"}


def find_wanted(contents: StudyContents) -> int:
    """Trials the study is to have, by the search that ran last."""
    config = contents.runs[-1].config if contents.runs and contents.runs[-1].config else contents.config
    return int(config.get("study", {}).get("trials", len(contents.trials)))


def tell_audit(trials: Iterable[TrialRecord]) -> dict[str, Any] | None:
    """How predictions fared on the audit set; None where nothing was audited. No decision has read it."""
    pairs = [(trial, trial.audit_test_score) for trial in trials if trial.audit_test_score is not None]
    if not pairs:
        return None
    audited = {trial.number: score for trial, score in pairs}
    predicted = [(score, trial.prediction) for trial, score in pairs if trial.prediction is not None]
    errors = [abs(score - prediction.predicted_test_score) for score, prediction in predicted]
    inside = [
        prediction.predicted_test_score_interval[0] <= score <= prediction.predicted_test_score_interval[1]
        for score, prediction in predicted
    ]
    return {
        "n": len(audited),
        "n_predicted": len(predicted),
        "mean_absolute_error": sum(errors) / len(errors) if errors else None,
        "n_inside_interval": sum(inside),
        "scores": {str(number): score for number, score in audited.items()},
    }


def compute_probabilities(contents: StudyContents) -> dict[int, float]:
    """By number, the probability of each of the first 200 of the ranking to have the highest test score of them.

    See `compute_probability_best`. Empty where nothing is predicted.
    """
    if contents.calibrator is None:
        return {}
    return compare(contents.ranked, contents.calibrator.calibrator.coverage)


def compare(trials: Iterable[TrialRecord], coverage: float) -> dict[int, float]:
    """The probability of each of the first 200 to be the best of them, by number; those not predicted are left out."""
    compared = [
        (trial.number, trial.prediction, trial.measurement.train_score)
        for trial in trials
        if trial.prediction is not None
        and trial.measurement is not None
        and math.isfinite(trial.measurement.train_score - trial.prediction.predicted_test_gap)
    ][:_MOST_COMPARED]
    probabilities = compute_probability_best(
        [prediction for _, prediction, _ in compared], [train_score for _, _, train_score in compared], coverage
    )
    return {number: probability for (number, _, _), probability in zip(compared, probabilities, strict=True)}


def _tell_data(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": data.get("name"),
        "n_images": data.get("n_images"),
        "input_shape": data.get("input_shape"),
        "n_classes": len(data["class_names"]) if "class_names" in data else None,
        "fingerprint": data.get("fingerprint"),
    }


def _count_trials(contents: StudyContents, histories: Sequence[TrialHistory]) -> dict[str, int]:
    trials = list(contents.trials.values())
    outcomes = Counter(attempt.outcome for history in histories for attempt in history.attempts)
    return {
        "wanted": find_wanted(contents),
        "begun": len(trials),
        "complete": contents.count("COMPLETE"),
        "pruned": contents.count("PRUNED"),
        "failed": contents.count("FAIL"),
        "running": contents.count("RUNNING"),
        "waiting": sum(history.state == "WAITING" for history in histories),
        "calibration": sum(trial.is_calibration for trial in trials),
        "retries": sum(trial.retries is not None for trial in trials),
        "retrains": sum(trial.retrains is not None for trial in trials),
        "attempts": sum(outcomes.values()),
        "attempts_lost": outcomes["lost"],
        "attempts_interrupted": outcomes["interrupted"],
    }


def _tell_runs(contents: StudyContents) -> dict[str, Any]:
    runs = contents.runs
    living = [run for run in runs if is_alive(run)]
    state = None
    if runs:
        state = "running" if living else (runs[-1].outcome or "died")
    return {
        "state": state,
        "runs": len(runs),
        "hosts": sorted({run.host for run in runs}),
        "backends": sorted({run.backend for run in runs}),
        "started_at": runs[0].started_at if runs else None,
        "last_sign_at": max((run.heartbeat_at for run in runs), default=None),
        "seconds": _measure_runs(runs),
        "versions": runs[-1].versions if runs else {},
        "living": [
            {"host": run.host, "pid": run.pid, "backend": run.backend, "silent_seconds": run.silent_seconds}
            for run in living
        ],
    }


def _measure_runs(runs: Sequence[RunRecord]) -> float:
    """Seconds in which a run lived; those of two at once count once. Runs are given earliest first."""
    total, until = 0.0, None
    for run in runs:
        end = run.heartbeat_at
        begin = run.started_at if until is None else max(run.started_at, until)
        total += max((end - begin).total_seconds(), 0.0)
        until = end if until is None else max(end, until)
    return total


def _tell_cost(contents: StudyContents) -> dict[str, Any]:
    cost = compute_cost(contents)
    return {
        "epochs": cost.epochs,
        "seconds": cost.seconds,
        "saved_epochs": cost.saved_epochs,
        "saved_seconds": cost.saved_seconds,
        "saved_share": cost.saved_share,
    }


def _group_pruned(pruned: Sequence[PrunedTrial]) -> list[dict[str, Any]]:
    """Pruned trials by why, the most frequent reason first; of each the trial that came closest."""
    groups: dict[str, list[PrunedTrial]] = {}
    for one in pruned:
        groups.setdefault(_name_reason(one), []).append(one)
    told = []
    for reason, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        short = [(one.needed - one.bound, one) for one in members if one.bound is not None and one.needed is not None]
        closest = min(short, key=lambda pair: pair[0], default=None)
        told.append(
            {
                "reason": reason,
                "n": len(members),
                "trials": [one.trial.number for one in members],
                "first_epoch": min(one.epoch for one in members),
                "last_epoch": max(one.epoch for one in members),
                "saved_epochs": sum(one.planned_epochs - one.epoch for one in members),
                "saved_seconds": sum(one.saved_seconds for one in members),
                "closest": None
                if closest is None
                else {
                    "trial": closest[1].trial.number,
                    "bound": closest[1].bound,
                    "needed": closest[1].needed,
                    "short_by": closest[0],
                },
            }
        )
    return told


def _name_reason(one: PrunedTrial) -> str:
    if one.bound is not None:
        reference = _REFERENCE.search(one.reason)
        of_whom = f"the {reference[1]} of the {reference[2]}" if reference else "what was needed"
        return f"the upper bound of the predicted final score fell short of {of_whom}"
    return _NUMBER.sub("…", one.reason.partition("\n")[0]) or "the pruner left no words"


def _group_failed(contents: StudyContents, histories: Sequence[TrialHistory]) -> list[dict[str, Any]]:
    """Failed trials by kind and message, the most frequent first; messages that differ in numbers alone are one."""
    groups: dict[str, list[tuple[str, TrialHistory]]] = {}
    for history in histories:
        if history.state == "FAIL":
            trial = contents.trials.get(history.number)
            reason = (trial and trial.failure) or history.reason or "no reason is known"
            line = reason.partition("\n")[0]
            groups.setdefault(_NUMBER.sub("…", line), []).append((line, history))
    return [
        {
            "reason": members[0][0],
            "n": len(members),
            "trials": [history.number for _, history in members],
            "retried": {str(h.number): h.retried_as for _, h in members if h.retried_as is not None},
        }
        for members in sorted(groups.values(), key=lambda members: (-len(members), members[0][1].number))
    ]


def _tell_best(contents: StudyContents) -> dict[str, Any] | None:
    """The first of the ranking, and how sure it is; None where no trial is ranked."""
    if not contents.ranked:
        return None
    best, *others = contents.ranked
    probabilities = compute_probabilities(contents)
    within: list[int] = []
    if best.prediction is not None:
        low = best.prediction.predicted_test_score_interval[0]
        within = [t.number for t in others if t.prediction and t.prediction.predicted_test_score >= low]
    predicted = [trial for trial in contents.ranked if trial.prediction is not None]
    return {
        "trial": make_plain_record(best),
        "probability_best": probabilities.get(best.number),
        "n_compared": len(probabilities),
        "n_ranked": len(contents.ranking),
        "n_predicted": len(predicted),
        "n_extrapolating": sum(bool(trial.prediction and trial.prediction.extrapolation) for trial in predicted),
        "not_told_apart": within,
        "first_within_range": next(
            (t.number for t in predicted if t.prediction is not None and not t.prediction.extrapolation), None
        ),
        "top": [
            {"rank": rank, "probability_best": probabilities.get(trial.number), **make_plain_record(trial)}
            for rank, trial in enumerate(contents.ranked[:_N_TOP], 1)
        ],
    }


def _tell_front(contents: StudyContents) -> list[dict[str, Any]] | None:
    if contents.pareto_front is None:
        return None
    return [make_plain_record(contents.trials[number]) for number in contents.pareto_front]


def _tell_calibration(contents: StudyContents) -> dict[str, Any]:
    """Where the calibrator comes from, and how many trials it has and waits for."""
    section = contents.config.get("calibration", {})
    artifact = section.get("artifact")
    own = [trial for trial in contents.trials.values() if trial.is_calibration]
    return {
        "artifact": artifact,
        "trials_wanted": section.get("artifact_trials", 0) if artifact else section.get("trials"),
        "trials_complete": sum(trial.state == "COMPLETE" for trial in own),
    }
