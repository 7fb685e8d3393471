"""Calibration rows from CSV: what is read, and how mistakes are named."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatselect.calibration.csv_rows import read_csv_rows
from flatselect.calibration.features import make_features
from flatselect.errors import CalibrationError
from flatselect.records import EpochMeasurement


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "rows.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_features_by_their_own_names(write):
    found = read_csv_rows(
        write("group,epoch,log_relative_gap_flatness,log_gini,test_gap\na,3,1.5,-2,0.1\n\nb,4,,nan,-0.2\n")
    )
    first, second = found.rows
    assert (first.group, first.epoch, first.test_gap) == ("a", 3, 0.1)
    assert (first.features["log_relative_gap_flatness"], first.features["log_gini"]) == (1.5, -2.0)
    assert math.isnan(first.features["train_score"])
    assert (second.group, second.epoch, second.test_gap) == ("b", 4, -0.2)
    assert math.isnan(second.features["log_relative_gap_flatness"])
    assert math.isnan(second.features["log_gini"])
    assert found.ignored_columns == []


def test_features_are_made_of_measured_values(write):
    row = read_csv_rows(
        write(
            "trial,epoch,train_score,holdout_score,train_loss,n_parameters,relative_gap_flatness,companion_gini\n"
            "7,2,0.9,0.8,0.5,1000,12.5,0.25\n"
        )
    ).rows[0]
    assert (row.group, row.test_gap) == ("7", pytest.approx(0.1))
    measured = EpochMeasurement(2, 0.9, 0.5, 1, 1000, relative_gap_flatness=12.5, companions={"gini": 0.25})
    expected = make_features(measured) | {"log_n_train_images": math.nan}
    assert row.features == pytest.approx(expected, nan_ok=True)


def test_trials_of_two_studies_are_not_one_group_though_their_numbers_are_the_same(write):
    """As `flatselect query --study '*' --epochs --csv` prints them."""
    header = "study,trial,epoch,train_score,holdout_score,relative_gap_flatness\n"
    found = read_csv_rows(write(f"{header}digits,0,1,0.9,0.8,1\nfashion,0,1,0.9,0.7,2\nfashion,0,2,0.9,0.7,2\n"))
    assert [row.group for row in found.rows] == ["digits/0", "fashion/0", "fashion/0"]
    assert found.ignored_columns == []


def test_without_groups_each_row_stands_alone_and_lines_without_a_gap_are_left_out(write):
    found = read_csv_rows(
        write("\ufeffrelative_gap_flatness,test_gap,predicted,audit_test_score\n1,0.1,5,0.5\n2,,5,0.5\n0,0.2,5,0.5\n")
    )
    assert len({row.group for row in found.rows}) == 2
    assert [row.test_gap for row in found.rows] == [0.1, 0.2]
    assert found.ignored_columns == ["predicted", "audit_test_score"]
    assert found.n_without_gap == 1
    assert found.rows[1].features["log_relative_gap_flatness"] == -12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"rows\.csv, line 1: no column log_relative_gap_flatness or relative_gap_flatness; it is empty"),
        ("test_gap;train_score\n", "no column log_relative.*its columns are test_gap;train_score"),
        ("relative_gap_flatness,train_score\n", "no column test_gap, nor train_score with test_score"),
        ("relative_gap_flatness,test_gap,test_gap\n", "column 'test_gap' is there twice"),
        ("relative_gap_flatness,test_gap\n1,0.1\n1\n", "line 3: 1 cells for 2 columns"),
        ("relative_gap_flatness,test_gap\n1,0.1\nmuch,0.1\n", "line 3, column relative_gap_flatness: 'much'; expected"),
        ("relative_gap_flatness,test_gap\n-1,0.1\n", "'-1'; expected a number of at least 0"),
        ("relative_gap_flatness,test_gap\ninf,0.1\n", "'inf'; expected a number of at least 0"),
        ("log_relative_gap_flatness,test_gap\n1e999,0.1\n", "'1e999'; expected a finite number"),
        ("relative_gap_flatness,test_gap\n1,12\n", "column test_gap: '12'; expected a number from -1 to 1"),
        ("relative_gap_flatness,train_score,test_score\n1,93.5,0.91\n", "column train_score: '93.5'; .* from 0 to 1"),
        (b"relative_gap_flatness,test_gap\n\xff,0.1\n", "not CSV in UTF-8"),
    ],
)
def test_mistakes_are_named_with_file_line_column_and_value(write, text, message):
    with pytest.raises(CalibrationError, match=message):
        read_csv_rows(write(text))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(CalibrationError, match=r"none\.csv: no such file"):
        read_csv_rows(tmp_path / "none.csv")
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_csv_rows(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(max_size=6), min_size=3, max_size=3), max_size=5), st.binary(max_size=60))
def test_garbage_is_an_error_or_rows_that_can_be_used(tmp_path_factory, cells, tail):
    path = tmp_path_factory.mktemp("garbage") / "rows.csv"
    lines = [["relative_gap_flatness", "test_gap", "epoch"], *cells]
    path.write_bytes("\n".join(",".join(line) for line in lines).encode("utf-8", "surrogatepass") + b"\n" + tail)
    try:
        found = read_csv_rows(path)
    except CalibrationError:
        return
    assert all(-1 <= row.test_gap <= 1 for row in found.rows)
