"""A ranking of checkpoints as one HTML page: a chart, a table, and what they are made of."""

import os
from collections.abc import Mapping

from flatselect.report.chart import Absence, Chart
from flatselect.report.page import make_page, write_page
from flatselect.report.ranking_chart import KIND, RankedNetwork, make_ranking_chart
from flatselect.selection.result import Ranking


def write_ranking_page(ranking: Ranking, path: str | os.PathLike[str], facts: Mapping[str, str]) -> None:
    """Writes the page, whole or not at all.

    Args:
        ranking: What it shows.
        path: The .html file.
        facts: What the ranking is made of, by name: shown at the top as they are.

    Raises:
        ConfigError: The file cannot be written.
    """
    write_page(make_ranking_page(ranking, facts), path)


def make_ranking_page(ranking: Ranking, facts: Mapping[str, str]) -> str:
    """The page's text; names of files and everything else that is not ours is escaped."""
    networks = [RankedNetwork(one.path, one.prediction, one.train_score) for one in ranking.ranked]
    charts: dict[str, Chart | Absence] = {}
    if networks:
        charts[KIND] = make_ranking_chart(networks, ranking.yardstick, most_rows=len(networks))
    predicted_by = ranking.predicted_by
    return make_page(
        "ranking.html",
        charts,
        ranking=ranking,
        facts=facts,
        yardstick=ranking.yardstick,
        coverage=None if predicted_by is None else predicted_by.predictor.calibrator.coverage,
    )
