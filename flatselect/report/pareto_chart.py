"""Predicted test score against what the study keeps low."""

import math

from flatselect.records import Cost, Prediction, TrialRecord, read_costs
from flatselect.report.chart import Absence, Axis, Chart, Color, Series, thin
from flatselect.report.score_charts import name_trial
from flatselect.report.study_contents import StudyContents

_TITLES: dict[Cost, str] = {"parameters": "parameters", "latency": "milliseconds an image"}


def make_pareto_chart(contents: StudyContents) -> Chart | Absence:
    """Each ranked trial by the first of the study's costs, with those on the Pareto front joined by a line."""
    kind, title = "pareto", "Score against cost"
    costs = read_costs(contents.config)
    if not costs:
        return Absence(kind, title, "The study has one objective (study.minimize names no cost).")
    points = [
        (trial, trial.measurement.cost(costs[0]), trial.prediction)
        for trial in contents.ranked
        if trial.measurement is not None and trial.prediction is not None
    ]
    points = sorted((point for point in points if math.isfinite(point[1])), key=lambda point: point[1])
    if not points:
        return Absence(kind, title, "No trial has a predicted test score and a cost yet.")
    front = [point for point in points if point[0].number in (contents.pareto_front or ())]
    others = [point for point in points if point[0].number not in (contents.pareto_front or ())]
    shown = [others[index] for index in thin(len(others), contents.detail.points)]
    kinds: tuple[tuple[str, Color, bool, list[tuple[TrialRecord, float, Prediction]]], ...] = (
        ("other trials", "blue", True, shown),
        ("on the Pareto front", "green", False, front),
    )
    series = [
        Series(
            name,
            [cost for _, cost, _ in of_kind],
            [prediction.predicted_test_score for _, _, prediction in of_kind],
            color=color,
            is_faint=is_faint,
            is_hollow=[prediction.extrapolation for _, _, prediction in of_kind],
            texts=[name_trial(trial) for trial, _, _ in of_kind],
        )
        for name, color, is_faint, of_kind in kinds
        if of_kind
    ]
    if len(costs) == 1:
        scores = [prediction.predicted_test_score for _, _, prediction in front]
        series.insert(0, Series("", [cost for _, cost, _ in front], scores, "line", "green"))
    caption = "On the front no other trial is at least as good in every objective and better in one."
    if len(shown) < len(others):
        caption = f"{len(shown):,} of {len(others):,} other trials, evenly by cost. {caption}"
    if len(costs) > 1:
        caption += f" The front is of {1 + len(costs)} objectives, of which two are shown."
    return Chart(
        kind,
        title,
        Axis(_TITLES[costs[0]], is_log=True),
        Axis("predicted test score"),
        tuple(series),
        caption=caption,
    )
