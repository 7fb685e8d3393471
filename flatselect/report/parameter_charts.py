"""What the parameters have to do with the predicted test score."""

import math
import warnings
from collections.abc import Mapping

import optuna

from flatselect.records import TrialRecord
from flatselect.report.chart import Absence, Axis, Chart, Color, Series, join_lines, thin
from flatselect.report.score_charts import make_colorings, name_trial
from flatselect.report.study_contents import StudyContents

_LEAST_TRIALS = 4
_MOST_TRIALS, _MOST_LINES = 1000, 500
# From the worst fifth of the trials to the best.
_FIFTHS: tuple[tuple[str, Color, bool], ...] = (
    ("lowest fifth by predicted test score", "grey", True),
    ("second", "grey", True),
    ("middle", "orange", True),
    ("fourth", "blue", True),
    ("highest fifth", "green", False),
)


def make_importance_chart(contents: StudyContents) -> Chart | Absence:
    """Optuna's importances (PED-ANOVA) for the predicted test score of complete trials, as it is predicted now."""
    kind, title = "importance", "Importance of parameters"
    trials = [trial for trial in _list_predicted(contents) if trial.state == "COMPLETE"]
    if len(trials) < _LEAST_TRIALS:
        return Absence(
            kind, title, f"{len(trials)} complete trials have a prediction; it takes at least {_LEAST_TRIALS}."
        )
    if not make_colorings(contents):
        return Absence(kind, title, "No parameter takes more than one value.")
    # Evenly by rank: the best tenth of these is a part of the best tenth of all.
    shown = [trials[index] for index in thin(len(trials), _MOST_TRIALS)]
    importances = compute_importances(contents, shown)
    of_all = f" of {len(trials):,}, evenly by rank" if len(shown) < len(trials) else ""
    return Chart(
        kind,
        title,
        Axis("share of importance"),
        Axis("", labels=tuple(importances), from_top=True),
        (Series("", list(importances.values()), list(range(1, len(importances) + 1)), "bars"),),
        caption=f"Optuna's PED-ANOVA on {len(shown):,} complete trials{of_all}: what sets the best tenth apart "
        "from the rest. With few trials it is mostly chance.",
        n_rows=len(importances),
    )


def compute_importances(contents: StudyContents, trials: list[TrialRecord]) -> dict[str, float]:
    """By parameter, the most important first; they sum to 1."""
    # What Optuna was told is the prediction of the moment; this is the latest.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(verbosity)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=trial.params,
                distributions={name: contents.distributions[name] for name in trial.params},
                value=trial.prediction.predicted_test_score,
            )
            for trial in trials
            if trial.prediction is not None
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an interface that may change
        found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def make_parallel_chart(contents: StudyContents) -> Chart | Absence:
    """Every parameter an axis, every trial a line, coloured by its fifth of the predicted test scores."""
    kind, title = "parallel", "Parallel coordinates"
    trials = _list_predicted(contents)
    colorings = make_colorings(contents)
    if len(trials) < 2 or not colorings:
        return Absence(kind, title, "It takes two predicted trials that differ in a parameter.")
    # The best come last, and are drawn over the others.
    shown = [trials[-1 - index] for index in thin(len(trials), _MOST_LINES)]
    names = [*colorings, "predicted test score"]
    places = {name: _scale(coloring.values, coloring.is_log) for name, coloring in colorings.items()}
    scores = {trial.number: _read_score(trial) for trial in trials}
    places["predicted test score"] = _scale(scores, is_log=False)
    series = []
    for index, (name, color, is_faint) in enumerate(_FIFTHS):
        own = [t for place, t in enumerate(shown) if place * len(_FIFTHS) // len(shown) == index]
        if own:
            series.append(
                Series(
                    name,
                    join_lines([list(range(1, len(names) + 1)) for _ in own]),
                    join_lines([[places[axis].get(trial.number) for axis in names] for trial in own]),
                    "line",
                    color,
                    is_faint=is_faint,
                    texts=[t or "" for t in join_lines([[_describe(trial, axis) for axis in names] for trial in own])],
                )
            )
    left_out = (
        f"{len(shown):,} of {len(trials):,} trials, evenly by predicted test score. "
        if len(shown) < len(trials)
        else ""
    )
    return Chart(
        kind,
        title,
        Axis("", labels=tuple(names)),
        Axis("place in its range"),
        tuple(series),
        caption=f"{left_out}From the lowest value tried (0) to the highest (1); choices in the order of the study "
        "file. A line is broken where the trial has no such parameter.",
    )


def _list_predicted(contents: StudyContents) -> list[TrialRecord]:
    return [
        trial
        for trial in contents.ranked
        if trial.prediction is not None and math.isfinite(trial.prediction.predicted_test_score) and trial.params
    ]


def _read_score(trial: TrialRecord) -> float:
    assert trial.prediction is not None, "only predicted trials are asked"
    return trial.prediction.predicted_test_score


def _scale(values: Mapping[int, float], is_log: bool) -> dict[int, float]:
    """Each value's place between the lowest (0) and the highest (1)."""
    taken = {trial: math.log(value) if is_log else value for trial, value in values.items()}
    low, high = min(taken.values()), max(taken.values())
    return {trial: (value - low) / (high - low) if high > low else 0.5 for trial, value in taken.items()}


def _describe(trial: TrialRecord, axis: str) -> str:
    value = trial.params.get(axis, _read_score(trial) if axis == "predicted test score" else "–")
    return f"{name_trial(trial)}\n{axis} = {f'{value:.4g}' if isinstance(value, float) else value}"
