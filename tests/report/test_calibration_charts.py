"""The charts of a calibration hold what the calibration says."""

import re

import numpy as np
import pytest

from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.errors import CalibrationError
from flatselect.report.calibration_charts import make_calibration_charts, write_calibration_page
from flatselect.report.chart import Absence


def make_predictor(n_groups, n_epochs=3):
    rng = np.random.default_rng(0)
    rows = []
    for group in range(n_groups):
        for epoch in range(1, n_epochs + 1):
            kappa = rng.normal()
            gap = 0.1 + 0.03 * kappa + 0.01 * rng.normal()
            rows.append(CalibrationRow(f"<{group}>", epoch, {"log_relative_gap_flatness": kappa}, gap))
    return GapPredictor.fit(rows, coverage=0.8)


@pytest.fixture(scope="module")
def predictor():
    return make_predictor(8)


def find_series(predictor, kind="calibration"):
    return {series.name: series for series in make_calibration_charts(predictor)[kind].series}


def test_every_row_is_drawn_and_the_last_of_each_group_with_its_interval(predictor):
    series = find_series(predictor)
    last, earlier = series["last epoch, 80% interval"], series["earlier epochs"]
    gaps = [row.test_gap for row in predictor.rows if row.epoch == 3]
    np.testing.assert_array_equal(last.x, gaps)
    assert len(earlier.x) == 16
    held_out = predictor.held_out
    np.testing.assert_array_equal(last.y_intervals, held_out.intervals[held_out.find_last_rows()])
    errors = np.abs(np.subtract([*last.x, *earlier.x], [*last.y, *earlier.y]))
    assert errors.mean() == pytest.approx(predictor.describe()["cross_validated"]["mae"])


def test_reliability_is_drawn(predictor):
    observed = find_series(predictor, "reliability")["observed"]
    reliability = predictor.describe()["cross_validated"]["reliability"]
    assert list(observed.x) == [level["nominal"] for level in reliability]
    assert list(observed.y) == [level["observed"] for level in reliability]


def test_two_groups_have_no_intervals_to_draw():
    predictor = make_predictor(2)
    assert find_series(predictor)["last epoch"].y_intervals == ()
    assert isinstance(make_calibration_charts(predictor)["reliability"], Absence)


def test_the_file_needs_no_network_and_runs_nothing_of_a_groups_name(predictor, tmp_path):
    write_calibration_page(predictor, tmp_path / "plots.html")
    text = (tmp_path / "plots.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", text)
    assert "mean absolute error" in text
    assert "<0>" not in text
    assert "\\u0026lt;0\\u0026gt;, epoch 3" in text  # for plotly, and in JSON
    with pytest.raises(CalibrationError, match="cannot be written"):
        write_calibration_page(predictor, tmp_path / "none" / "plots.html")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_named_and_leaves_nothing(predictor, tmp_path):
    with pytest.raises(CalibrationError, match=r"plots\.html: cannot be written \(No space left"):
        write_calibration_page(predictor, tmp_path / "plots.html")
    assert not list(tmp_path.iterdir())
