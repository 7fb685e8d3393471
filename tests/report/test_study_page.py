"""The page of a study: everything that is in it, nothing from elsewhere, and nothing that a name could do to it."""

import dataclasses
import html
import json
import re
import tomllib
from pathlib import Path

import pytest
from written_study import EVIL

from flatselect.config import StudyConfig
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_file_text import make_study_file_text
from flatselect.report.study_page import find_warning, make_study_page
from flatselect.study_file import load_study_file

STUDIES = sorted(Path(__file__).parents[2].glob("studies/*.toml"))


@pytest.fixture(scope="session")
def page(contents):
    return make_study_page(contents)


def read_text(page):
    """What a reader sees: no scripts, no styles, no tags."""
    bare = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def find_charts(page):
    found = re.findall(r'<script type="application/json" id="data-(\w+)">(.*?)</script>', page, flags=re.DOTALL)
    return {kind: json.loads(text) for kind, text in found}


def test_tells_the_whole_story(page, contents):
    text = read_text(page)
    best = contents.ranked[0]
    low, high = best.prediction.predicted_test_score_interval
    for expected in (
        f"trial {best.number}, {best.model}: predicted test score {best.prediction.predicted_test_score:.4f}",
        f"{low:.3f} to {high:.3f}",
        "14: 7 complete, 6 pruned, 1 failed;",
        "5 held out a part of the images",
        "digits: 1,297 of 1×8×8",
        "ValueError: bad",
        "finished trials (trial",
        "0.5 GPUs a trial",
        "python 3.11, torch 2.6",
        "rank correlation of test scores",
        "flatselect search STUDY.toml",
    ):
        assert expected in text, expected
    for trial in contents.ranked:
        assert f"{trial.audit_test_score:.4f}" in text
    assert set(find_charts(page)) == set(CHARTS)


def test_is_one_file_that_asks_for_nothing(page):
    assert len(page) < 15_000_000
    assert "default-src 'none'" in page
    tags = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)", tags)
    assert not re.findall(r"url\(|@import", tags)


def test_hostile_names_are_text_everywhere(evil_contents):
    page = make_study_page(evil_contents)
    assert EVIL not in page
    assert "<img" not in page
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")
    text = read_text(page)
    assert text.startswith("digits" + EVIL)
    for name in (f"block{EVIL} = residual{EVIL}", f"bad{EVIL}", f"torch{EVIL} 2.6", f"host{EVIL}", f"digits{EVIL}"):
        assert name in text, name
    charts = find_charts(page)
    assert f"block{EVIL}" in charts["gap"]["colorings"]
    # Plotly reads markup in texts: there it is escaped once more.
    (label,) = [label for label in charts["importance"]["layout"]["yaxis"]["ticktext"] if "alert" in label]
    assert html.escape(EVIL[-30:], quote=False) in label
    assert "<script" not in str([chart["data"] for chart in charts.values()])


def test_an_unfinished_search_is_said_to_be_one(contents):
    assert find_warning(contents) is None
    (run,) = contents.runs
    stopped = dataclasses.replace(contents, runs=(dataclasses.replace(run, outcome="interrupted"),))
    assert "did not come to its end" in find_warning(stopped)
    assert "did not come to its end" in read_text(make_study_page(stopped))
    died = dataclasses.replace(run, outcome=None, ended_at=None, silent_seconds=3600.0)
    assert "did not come to its end" in find_warning(dataclasses.replace(contents, runs=(died,)))
    running = dataclasses.replace(died, silent_seconds=1.0, host="elsewhere")
    assert "is running" in find_warning(dataclasses.replace(contents, runs=(running,)))
    assert "No trial has begun" in find_warning(dataclasses.replace(contents, trials={}, ranking=()))


def test_sections_without_data_say_why(contents):
    nothing = dataclasses.replace(
        contents, trials={}, ranking=(), attempts={}, curves={}, distributions={}, calibrator=None, runs=()
    )
    page = make_study_page(nothing)
    assert find_charts(page) == {}
    text = read_text(page)
    for kind, make in CHARTS.items():
        if kind != "reliability":  # stands beside the calibrator's other chart
            assert make(nothing).reason in text


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_study_file_is_given_back(path):
    config = load_study_file(path)
    # As it stands in the database, without what belongs to one machine.
    stored = config.to_dict()
    given_back = tomllib.loads(make_study_file_text(stored))
    assert StudyConfig.from_dict(given_back).to_dict() == stored


@pytest.mark.parametrize("value", ['"\\\n\t\x00\x7f é', 1e-9, 10**12, True, [1, [2.5, "a"]], {"a b": {"c": "d"}}, {}])
def test_any_plain_value_is_toml(value):
    assert tomllib.loads(make_study_file_text({"a.b": {"key ☃": value}})) == {"a.b": {"key ☃": value}}
