"""Intervals that speak for clusters, such as data sets, that no row is of."""

from pathlib import Path

import numpy as np
import pytest

from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.csv_rows import read_csv_rows
from flatselect.calibration.gap_calibrator import GapCalibrator
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.calibration.intervals import make_cluster_folds, make_folds
from flatselect.errors import CalibrationError

N_CLUSTERS, N_GROUPS, N_ROWS = 6, 20, 3


def draw_rows(seed: int, n_clusters: int = N_CLUSTERS) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Gaps that a cluster shares a part of: (features, gaps, groups, clusters)."""
    draw = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_clusters), N_GROUPS * N_ROWS)
    X = draw.normal(size=(len(clusters), 2))
    shifts = draw.normal(scale=0.1, size=n_clusters)
    gaps = 0.05 * X[:, 0] + shifts[clusters] + draw.normal(scale=0.02, size=len(clusters))
    return X, gaps, np.repeat(np.arange(n_clusters * N_GROUPS), N_ROWS), [f"set {c}" for c in clusters]


def test_each_cluster_is_a_fold_and_groups_of_none_are_dealt_as_ever() -> None:
    groups = np.array([0, 0, 1, 2, 3, 4, 4, 5])
    clusters = ["b", "b", "a", "b", None, None, None, None]
    assert make_cluster_folds(groups, clusters, 2).tolist() == [1, 1, 0, 1, 2, 3, 3, 2]
    assert make_cluster_folds(groups, clusters, 9).tolist() == [1, 1, 0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("name", [None, "only"])
def test_none_and_one_cluster_are_no_clusters(name: str | None) -> None:
    X, gaps, groups, _ = draw_rows(0)
    assert np.array_equal(make_cluster_folds(groups, [name] * len(groups), 10), make_folds(groups, 10))
    plain = GapCalibrator().fit(X, gaps, groups)
    same = GapCalibrator().fit(X, gaps, groups, clusters=[name] * len(groups))
    assert np.array_equal(plain.predict_interval(X), same.predict_interval(X))


def test_predictions_are_those_without_clusters() -> None:
    X, gaps, groups, clusters = draw_rows(0)
    plain, clustered = GapCalibrator().fit(X, gaps, groups), GapCalibrator().fit(X, gaps, groups, clusters=clusters)
    assert np.array_equal(plain.predict(X), clustered.predict(X))
    assert np.array_equal(plain.is_extrapolation(5 * X), clustered.is_extrapolation(5 * X))


def test_a_new_cluster_is_covered_where_clusters_are_held_out_only() -> None:
    covered: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(25):
        X, gaps, groups, clusters = draw_rows(seed, N_CLUSTERS + 1)
        is_new = np.array(clusters) == f"set {N_CLUSTERS}"
        old = ~is_new
        for given, shares in covered.items():
            names = [c for c, keep in zip(clusters, old, strict=True) if keep] if given else None
            calibrator = GapCalibrator(coverage=0.8).fit(X[old], gaps[old], groups[old], clusters=names)
            low, high = calibrator.predict_interval(X[is_new]).T
            shares.append(float(((low <= gaps[is_new]) & (gaps[is_new] <= high)).mean()))
    assert np.mean(covered[True]) > 0.78
    assert np.mean(covered[False]) < np.mean(covered[True]) - 0.02


def test_wrong_lengths_are_refused() -> None:
    X, gaps, groups, clusters = draw_rows(0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        GapCalibrator().fit(X, gaps, groups, clusters=clusters[1:])


def test_the_file_keeps_clusters(tmp_path: Path) -> None:
    rows = [
        CalibrationRow(str(group), 1, {"log_relative_gap_flatness": float(x)}, float(gap), cluster)
        for x, gap, group, cluster in zip(*make_columns(), strict=True)
    ]
    predictor = GapPredictor.fit(rows)
    predictor.save(tmp_path / "calibrator.json")
    loaded = GapPredictor.load(tmp_path / "calibrator.json")
    assert loaded.rows == predictor.rows
    assert loaded.describe() == predictor.describe()
    folds = loaded.calibrator.cross_validated_.folds
    assert {int(fold): {rows[i].cluster for i in np.flatnonzero(folds == fold)} for fold in np.unique(folds)} == {
        0: {"set 0"}, 1: {"set 1"}, 2: {"set 2"},
    }  # fmt: skip


def test_diagnostics_speak_for_new_clusters() -> None:
    columns = make_columns()
    free, clustered = (
        GapPredictor.fit(
            [
                CalibrationRow(
                    str(group), 1, {"log_relative_gap_flatness": float(x)}, float(gap), cluster if c else None
                )
                for x, gap, group, cluster in zip(*columns, strict=True)
            ]
        ).describe()["cross_validated"]
        for c in (False, True)
    )
    assert clustered["mae"] > free["mae"]
    assert clustered["interval_width"] > free["interval_width"]


def make_columns() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    X, gaps, groups, clusters = draw_rows(3, 3)
    return X[:, 0], gaps, groups, clusters


def test_a_csv_file_may_name_clusters(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("group,cluster,log_relative_gap_flatness,test_gap\na,digits,1.0,0.1\nb,,2.0,0.2\n")
    read = read_csv_rows(path)
    assert [row.cluster for row in read.rows] == ["digits", None]
    assert read.ignored_columns == []


@pytest.mark.parametrize(("other", "named"), [("mnist", "'digits' and 'mnist'"), (None, "'digits' and none")])
def test_a_group_of_two_clusters_is_refused(other: str | None, named: str) -> None:
    """With one of them held out, the others of its rows would predict it."""
    rows = [
        CalibrationRow(group, epoch, {"train_score": epoch / 3}, 0.1, cluster)
        for group, clusters in (("0", ("digits", other)), ("1", ("mnist", "mnist")))
        for epoch, cluster in enumerate(clusters, 1)
    ]
    with pytest.raises(CalibrationError, match=f"group '0' are of cluster {named}; a group is held out whole"):
        GapPredictor.fit(rows)
