"""What the page of `flatselect rank` says that its calibrator is made of."""

import pytest

from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.cli.rank_page import list_facts
from flatselect.selection.calibrator import Calibrator, choose_calibrator

STUDY = {"kind": "study", "name": "digits", "n_rows": 12, "n_groups": 6}
TABLE = {"kind": "csv", "name": "rows.csv", "n_rows": 12, "n_groups": 6}


def describe(calibrator, digits):
    return list_facts("digits", digits, 100, 0, None, calibrator)["calibrator"]


def test_the_shipped_ones_groups_are_settings(digits):
    said = describe(choose_calibrator("shipped"), digits)
    assert said.startswith("shipped: ensemble on 750 rows of 150 settings, each with several networks, SHA-256 ")


@pytest.mark.parametrize(
    ("metadata", "groups"),
    [
        ({"sources": [STUDY]}, "trials"),
        ({"sources": [{**STUDY, "n_groups": 2}, {**STUDY, "n_groups": 4}]}, "trials"),
        ({"sources": [{**STUDY, "n_groups": 2}]}, "groups"),  # of the others nothing is known
        ({"sources": [{**STUDY, "n_groups": 2}, {**TABLE, "n_groups": 4}]}, "groups"),
        ({"sources": [TABLE]}, "groups"),
        ({}, "groups"),
        *(({"sources": odd}, "groups") for odd in (1, "text", [], ["text"], [{"kind": []}], {"kind": "study"})),
    ],
)
def test_groups_are_called_what_the_artifact_says_of_all_of_them(metadata, groups, digits):
    rows = [
        CalibrationRow(str(group), epoch, {"log_relative_gap_flatness": group + epoch / 7}, group / 50)
        for group in range(6)
        for epoch in (1, 2)
    ]
    calibrator = Calibrator("gap.json", GapPredictor.fit(rows, metadata=metadata))
    assert f"gap.json: ridge on 12 rows of 6 {groups}, SHA-256" in describe(calibrator, digits)
