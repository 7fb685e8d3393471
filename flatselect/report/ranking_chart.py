"""The chart of a ranking: of trials, or of checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass

from flatselect.ranking.uncalibrated import Yardstick
from flatselect.records import Prediction
from flatselect.report.chart import Absence, Axis, Chart, Series

KIND, TITLE = "ranking", "Ranking"
_MOST_ROWS = 40


@dataclass(frozen=True)
class RankedNetwork:
    """One row: what it is called, and the scores that are known of it."""

    name: str
    prediction: Prediction | None
    train_score: float | None
    audit_test_score: float | None = None


def make_ranking_chart(
    ranked: Sequence[RankedNetwork], yardstick: Yardstick | None = None, most_rows: int = _MOST_ROWS
) -> Chart | Absence:
    """Predicted test scores with their intervals, best first, beside training scores and, where known, audited ones.

    Args:
        ranked: Best first.
        yardstick: What the order is by where nothing is predicted.
        most_rows: The others are left out.
    """
    if not ranked:
        return Absence(KIND, TITLE, "No network is ranked yet.")
    shown = ranked[:most_rows]
    rows = list(range(1, len(shown) + 1))
    series = []
    if yardstick is not None:
        series.append(Series(yardstick.name, yardstick.values[: len(shown)], rows, color="green"))
    predicted = [(row, one.prediction, one.name) for row, one in zip(rows, shown, strict=True) if one.prediction]
    if predicted:
        series.append(
            Series(
                "predicted test score, with its interval",
                [prediction.predicted_test_score for _, prediction, _ in predicted],
                [row for row, _, _ in predicted],
                x_intervals=[prediction.predicted_test_score_interval for _, prediction, _ in predicted],
                is_hollow=[prediction.extrapolation for _, prediction, _ in predicted],
                texts=[name for _, _, name in predicted],
            )
        )
    series.append(Series("training score", [one.train_score for one in shown], rows, "ticks", "orange"))
    if any(one.audit_test_score is not None for one in shown):
        series.append(Series("audited score", [one.audit_test_score for one in shown], rows, "ticks", "green"))
    left_out = f"The best {len(shown)} of {len(ranked):,}. " if len(shown) < len(ranked) else ""
    hollow = (
        "A ring: unlike anything the calibrator was fitted on." if any(p.extrapolation for _, p, _ in predicted) else ""
    )
    return Chart(
        KIND,
        TITLE,
        Axis("score" if yardstick is None else "share of images"),
        Axis("", labels=tuple(f"{row}  {one.name}" for row, one in zip(rows, shown, strict=True)), from_top=True),
        tuple(series),
        caption=left_out + hollow,
        n_rows=len(shown),
    )
