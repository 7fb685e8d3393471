"""Every chart of a study, by its kind."""

from collections.abc import Callable

from flatselect.report.calibration_charts import GAPS, RELIABILITY, make_calibration_charts
from flatselect.report.chart import Absence, Chart
from flatselect.report.curve_charts import make_flatness_chart, make_learning_chart
from flatselect.report.parameter_charts import make_importance_chart, make_parallel_chart
from flatselect.report.pareto_chart import make_pareto_chart
from flatselect.report.pruning import make_cost_chart, make_pruned_chart
from flatselect.report.ranking_chart import RankedNetwork, make_ranking_chart
from flatselect.report.score_charts import make_audit_chart, make_gap_chart
from flatselect.report.study_contents import StudyContents

Maker = Callable[[StudyContents], Chart | Absence]


def _make_ranking(contents: StudyContents) -> Chart | Absence:
    return make_ranking_chart(
        [
            RankedNetwork(
                f"trial {trial.number}",
                trial.prediction,
                trial.measurement.train_score if trial.measurement else None,
                trial.audit_test_score,
            )
            for trial in contents.ranked
        ]
    )


def _make_calibration(kind: str) -> Maker:
    return lambda contents: make_calibration_charts(contents.calibrator, contents.detail.points)[kind]


CHARTS: dict[str, Maker] = {
    "ranking": _make_ranking,
    "pareto": make_pareto_chart,
    "audit": make_audit_chart,
    "gap": make_gap_chart,
    "learning": make_learning_chart,
    "flatness": make_flatness_chart,
    "importance": make_importance_chart,
    "parallel": make_parallel_chart,
    "pruned": make_pruned_chart,
    "cost": make_cost_chart,
    GAPS: _make_calibration(GAPS),
    RELIABILITY: _make_calibration(RELIABILITY),
}
