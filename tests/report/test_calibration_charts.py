"""The plots of a calibration hold what the calibration says."""

import re

import numpy as np
import pytest
from flatselect.report.calibration_plots import make_calibration_figure, write_calibration_plots

from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.errors import CalibrationError


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


def find_traces(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def test_every_row_is_drawn_and_the_last_of_each_group_with_its_interval(predictor):
    traces = find_traces(make_calibration_figure(predictor))
    last, earlier = traces["last epoch, 80% interval"], traces["earlier epochs"]
    gaps = [row.test_gap for row in predictor.rows if row.epoch == 3]
    np.testing.assert_array_equal(last.x, gaps)
    assert len(earlier.x) == 16
    held_out = predictor.held_out
    rows = held_out.find_last_rows()
    np.testing.assert_allclose(last.y + last.error_y.array, held_out.intervals[rows, 1])
    np.testing.assert_allclose(last.y - last.error_y.arrayminus, held_out.intervals[rows, 0])
    errors = np.abs(np.concatenate([last.x - last.y, earlier.x - earlier.y]))
    assert errors.mean() == pytest.approx(predictor.describe()["cross_validated"]["mae"])


def test_reliability_is_drawn(predictor):
    trace = next(trace for trace in make_calibration_figure(predictor).data if trace.mode == "lines+markers")
    reliability = predictor.describe()["cross_validated"]["reliability"]
    assert list(trace.x) == [level["nominal"] for level in reliability]
    assert list(trace.y) == [level["observed"] for level in reliability]


def test_two_groups_have_no_intervals_to_draw():
    traces = find_traces(make_calibration_figure(make_predictor(2)))
    assert traces["last epoch"].error_y.array is None


def test_the_file_needs_no_network_and_runs_nothing_of_a_groups_name(predictor, tmp_path):
    write_calibration_plots(predictor, tmp_path / "plots.html")
    text = (tmp_path / "plots.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", text)
    assert "mean absolute error" in text
    assert "<0>" not in text
    with pytest.raises(CalibrationError, match="cannot be written"):
        write_calibration_plots(predictor, tmp_path / "none" / "plots.html")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_named_and_leaves_nothing(predictor, tmp_path):
    with pytest.raises(CalibrationError, match=r"plots\.html: cannot be written \(No space left"):
        write_calibration_plots(predictor, tmp_path / "plots.html")
    assert not list(tmp_path.iterdir())
