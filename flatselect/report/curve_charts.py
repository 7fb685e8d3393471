"""How trials went, epoch by epoch."""

from collections.abc import Callable

from flatselect.records import EpochMeasurement
from flatselect.report.chart import Absence, Axis, Chart, Color, Series, join_lines, thin
from flatselect.report.study_contents import StudyContents

_STATES: tuple[tuple[str, str, Color, bool], ...] = (
    ("COMPLETE", "complete", "blue", True),
    ("FAIL", "failed", "red", True),
    ("RUNNING", "running", "green", True),
    ("PRUNED", "pruned", "orange", True),
)


def make_learning_chart(contents: StudyContents) -> Chart | Absence:
    """Training score by epoch."""
    return _make_curves(contents, "learning", "Learning curves", Axis("training score"), lambda m: m.train_score)


def make_flatness_chart(contents: StudyContents) -> Chart | Absence:
    """Relative GAP flatness by epoch."""
    axis = Axis("relative GAP flatness", is_log=True)
    return _make_curves(contents, "flatness", "Flatness curves", axis, lambda m: m.relative_gap_flatness)


def _make_curves(
    contents: StudyContents, kind: str, title: str, axis: Axis, read: Callable[[EpochMeasurement], float | None]
) -> Chart | Absence:
    curves = {
        number: [(m.epoch, value) for m in curve if (value := read(m)) is not None]
        for number, curve in sorted(contents.curves.items())
    }
    curves = {number: curve for number, curve in curves.items() if curve}
    if not curves:
        return Absence(kind, title, "No epoch of any trial is measured yet.")
    longest = max(map(len, curves.values()))
    most = contents.detail.curve_epochs or longest
    curves = {number: [curve[index] for index in thin(len(curve), most)] for number, curve in curves.items()}
    best = next((number for number in contents.ranking if number in curves), None)
    series = []
    for state, name, color, is_faint in _STATES:
        numbers = [n for n in curves if n != best and n in contents.trials and contents.trials[n].state == state]
        if numbers:
            series.append(_join(name, numbers, curves, color, is_faint=is_faint))
    pruned = [n for n in curves if n in contents.trials and contents.trials[n].state == "PRUNED"]
    if pruned:
        series.append(
            Series(
                "pruned here",
                [curves[n][-1][0] for n in pruned],
                [curves[n][-1][1] for n in pruned],
                color="orange",
                texts=[f"trial {n}" for n in pruned],
            )
        )
    if best is not None:
        series.append(_join(f"trial {best}, ranked first", [best], curves, "green", is_faint=False))
    n = sum(trial.measurement is not None for trial in contents.trials.values())
    shown = ""
    if len(contents.curves) < n:
        shown = f"{len(contents.curves)} of {n:,} trials: the best, and of the others some, evenly by number. "
    if most < longest:
        shown += f"At most {most} epochs of each, evenly."
    return Chart(kind, title, Axis("epoch"), axis, tuple(series), caption=shown)


def _join(
    name: str, numbers: list[int], curves: dict[int, list[tuple[int, float]]], color: Color, *, is_faint: bool
) -> Series:
    return Series(
        name,
        join_lines([[epoch for epoch, _ in curves[n]] for n in numbers]),
        join_lines([[value for _, value in curves[n]] for n in numbers]),
        "line",
        color,
        is_faint=is_faint,
        # A text for each point, and for each gap between two lines.
        texts=[text or "" for text in join_lines([[f"trial {n}"] * len(curves[n]) for n in numbers])],
    )
