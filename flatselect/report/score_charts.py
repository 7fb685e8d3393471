"""How well predictions did, and how flatness and the test gap go together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.stats import spearmanr

from flatselect.records import TrialRecord
from flatselect.report.chart import Absence, Axis, Chart, Color, Coloring, Series, thin
from flatselect.report.study_contents import StudyContents


def make_audit_chart(contents: StudyContents) -> Chart | Absence:
    """Predicted against audited test score, with the line on which both are equal."""
    kind, title = "audit", "Predicted against audited score"
    pairs = [(trial, trial.prediction) for trial in contents.audited if trial.prediction is not None]
    if not contents.has_audit_set:
        return Absence(kind, title, "The study names no audit set (data.audit), so no prediction can be checked.")
    if not pairs:
        return Absence(kind, title, "Nothing is audited yet: a search audits its trials after its last decision.")
    audited = np.array([trial.audit_test_score for trial, _ in pairs], dtype=np.float64)
    scores = np.array([prediction.predicted_test_score for _, prediction in pairs])
    intervals = np.array([prediction.predicted_test_score_interval for _, prediction in pairs])
    inside = (intervals[:, 0] <= audited) & (audited <= intervals[:, 1])
    ends = [float(min(audited.min(), scores.min())), float(max(audited.max(), scores.max()))]
    shown = [pairs[index] for index in thin(len(pairs), contents.detail.points)]
    series = [Series("predicted = audited", ends, ends, "line", "grey", is_dotted=True)]
    states: tuple[tuple[str, Color, bool], ...] = (("complete", "blue", False), ("pruned", "orange", True))
    for name, color, is_pruned in states:
        of_state = [(trial, p) for trial, p in shown if (trial.state == "PRUNED") == is_pruned]
        if of_state:
            series.append(
                Series(
                    f"{name}, with the interval",
                    [trial.audit_test_score for trial, _ in of_state],
                    [prediction.predicted_test_score for _, prediction in of_state],
                    color=color,
                    y_intervals=[prediction.predicted_test_score_interval for _, prediction in of_state],
                    is_hollow=[prediction.extrapolation for _, prediction in of_state],
                    texts=[name_trial(trial) for trial, _ in of_state],
                    trials=[trial.number for trial, _ in of_state],
                )
            )
    rank = ""
    if len(pairs) > 2 and np.ptp(audited) > 0 and np.ptp(scores) > 0:
        rank = f", rank correlation {spearmanr(scores, audited).statistic:.2f}"
    return Chart(
        kind,
        title,
        Axis("audited score"),
        Axis("predicted test score"),
        tuple(series),
        caption=f"{_say_shown(len(shown), len(pairs))}Mean absolute error {np.abs(scores - audited).mean():.4f}{rank}; "
        f"{inside.sum():,} of {len(pairs):,} intervals hold the audited score. The audit is measured after every "
        "decision and has no part in any.",
    )


def make_gap_chart(contents: StudyContents) -> Chart | Absence:
    """Relative GAP flatness against the test gap: measured where a part was held out, predicted elsewhere."""
    kind, title = "gap", "Flatness against the test gap"
    measured = [
        (trial, flatness, gap)
        for trial in contents.trials.values()
        if (flatness := _read_flatness(trial)) and (gap := _read_gap(trial)) is not None
    ]
    held_out = {trial.number for trial, _, _ in measured}
    predicted = [
        (trial, flatness, prediction.predicted_test_gap)
        for trial in contents.trials.values()
        if (flatness := _read_flatness(trial))
        and trial.number not in held_out
        and (prediction := trial.prediction) is not None
    ]
    if not measured and not predicted:
        return Absence(kind, title, "No trial has both a measured flatness and a test gap, measured or predicted, yet.")
    n = len(measured) + len(predicted)
    measured = [measured[index] for index in thin(len(measured), contents.detail.points // 2)]
    predicted = [predicted[index] for index in thin(len(predicted), contents.detail.points - len(measured))]
    kinds: tuple[tuple[str, Color, bool, list[tuple[TrialRecord, float, float]]], ...] = (
        ("gap predicted", "blue", True, predicted),
        ("gap measured on a held-out part", "orange", False, measured),
    )
    series = [
        Series(
            name,
            [flatness for _, flatness, _ in points],
            [gap for _, _, gap in points],
            color=color,
            is_hollow=[is_hollow] * len(points),
            texts=[name_trial(trial) for trial, _, _ in points],
            trials=[trial.number for trial, _, _ in points],
        )
        for name, color, is_hollow, points in kinds
        if points
    ]
    shown = len(measured) + len(predicted)
    return Chart(
        kind,
        title,
        Axis("relative GAP flatness", is_log=True),
        Axis("test gap"),
        tuple(series),
        caption=f"{_say_shown(shown, n)}Each trial at its last measured epoch. Flat networks that are confident and "
        "wrong are flat too: flatness predicts the gap only beside the other measures.",
        colorings=make_colorings(contents),
    )


def make_colorings(contents: StudyContents) -> dict[str, Coloring]:
    """A colouring by each parameter that takes more than one value."""
    found = {}
    for name, distribution in contents.distributions.items():
        values = {trial.number: trial.params[name] for trial in contents.trials.values() if name in trial.params}
        labels = _list_labels(values, distribution)
        if labels:
            coded = {trial: float(labels.index(str(value))) for trial, value in values.items()}
        else:
            coded = {trial: float(value) for trial, value in values.items()}
        if len(set(coded.values())) > 1:
            found[name] = Coloring(coded, tuple(labels), bool(getattr(distribution, "log", False)))
    return found


def name_trial(trial: TrialRecord) -> str:
    """A trial for a reader: its number, state and architecture."""
    return f"trial {trial.number}, {trial.state.lower()}: {trial.model}".rstrip(": ")


def _list_labels(values: Mapping[int, Any], distribution: Any) -> list[str]:
    if not isinstance(distribution, CategoricalDistribution):
        return []
    met = {str(value) for value in values.values()}
    return [str(choice) for choice in distribution.choices if str(choice) in met]


def _read_flatness(trial: TrialRecord) -> float | None:
    """None where it is not measured, or 0, which has no place on a logarithmic axis."""
    return trial.measurement.relative_gap_flatness if trial.measurement else None


def _read_gap(trial: TrialRecord) -> float | None:
    return trial.measurement.test_gap if trial.measurement else None


def _say_shown(n_shown: int, n: int) -> str:
    return f"{n_shown:,} of {n:,} trials, evenly by number. " if n_shown < n else ""
