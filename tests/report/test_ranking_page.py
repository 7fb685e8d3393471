"""The page of a ranking: everything that is in it, and nothing from anywhere else."""

import html
import json
import re

import pytest
from made_ranking import EVIL, make_ranking

from flatselect.errors import ConfigError
from flatselect.ranking import RankedCandidate
from flatselect.report.ranking_page import make_ranking_page, write_ranking_page
from flatselect.selection.result import Ranking


def split(page):
    """The page without its scripts, and the scripts."""
    pattern = r"<script[^>]*>.*?</script>"
    return re.sub(pattern, "", page, flags=re.DOTALL), re.findall(pattern, page, flags=re.DOTALL)


def test_every_candidate_and_number_is_there():
    text, _ = split(make_ranking_page(make_ranking(), {"training images": "digits", "calibrator": "gap.json"}))
    for expected in (
        *("runs/best.pt", html.escape(EVIL, quote=False), "0.8321?", "0.732 to 0.882", "0.750", "0.9321", "0.8125"),
        *("0.7654", "12,345", "gap.json", "90 % of test scores", "Ranking of 2 networks"),
    ):
        assert expected.replace('"', "&#34;").replace("'", "&#39;") in text, expected
    assert "Uncalibrated" not in text
    assert "Not ranked" in text


def test_names_of_files_are_text_and_never_code():
    page = make_ranking_page(make_ranking(), {EVIL: EVIL})
    assert "alert(1)</script>" not in page
    assert "<b>.pt" not in page
    text, scripts = split(page)
    assert text.count(html.escape("<script>")) == 5
    (chart,) = [script for script in scripts if "data-ranking" in script]
    assert "alert(1)" in chart  # in the plot too, and escaped


def test_nothing_is_fetched_from_elsewhere():
    page = make_ranking_page(make_ranking(), {})
    text, scripts = split(page)
    assert not re.findall(r"(?:src|href|url)\s*[=(]", text)
    assert not [script for script in scripts if re.match(r"<script[^>]*src", script)]
    assert "default-src 'none'" in text
    assert len(page) > 1_000_000  # plotly itself


def find_traces(page):
    (script,) = [script for script in split(page)[1] if "data-ranking" in script]
    return json.loads(script[script.index("{") : -len("</script>")])["data"]


def test_the_plot_shows_scores_with_their_intervals_best_first():
    predicted, trained = find_traces(make_ranking_page(make_ranking(), {}))
    assert (predicted["x"], predicted["y"]) == ([0.8321, 0.8321], [1, 2])
    assert predicted["error_x"]["array"] == pytest.approx([0.05, 0.05])
    assert predicted["error_x"]["arrayminus"] == pytest.approx([0.1, 0.1])
    assert predicted["marker"]["symbol"] == ["circle-open", "circle"]
    assert trained["x"] == [0.9321, 0.9321]


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({}, "accuracy on disturbed training images", (0.8125 + 0.7654 + 0.6) / 3),
        (
            {"unlabeled_weighted_agreement": 0.8765},
            "the mean of weighted agreement with the others on unlabelled images and accuracy on disturbed training "
            "images",
            (0.8765 + (0.8125 + 0.7654 + 0.6) / 3) / 2,
        ),
    ],
)
def test_without_predictions_it_says_so_and_shows_what_the_order_is_by(more, name, value):
    page = make_ranking_page(make_ranking(predicted=False, noise_accuracy=0.6, **more), {})
    text, _ = split(page)
    assert "Uncalibrated: no test score is predicted." in text
    assert f"The order is that of {name}:" in " ".join(text.split())
    assert text.count(f"<td>{value:.4f}</td>") == 2
    assert "P(best)" not in text
    ordered, trained = find_traces(page)
    assert (ordered["name"], ordered["x"], ordered["y"]) == (name, pytest.approx([value, value]), [1, 2])
    assert trained["name"] == "training score"


def test_nothing_ranked_has_no_plot():
    page = make_ranking_page(Ranking((RankedCandidate("a.pt", error="empty"),), None), {})
    assert "<script" not in page
    assert "a.pt" in page


def test_is_written_whole_or_not_at_all(tmp_path):
    write_ranking_page(make_ranking(), tmp_path / "page.html", {})
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == make_ranking_page(make_ranking(), {})
    with pytest.raises(ConfigError, match=r"absent/page.html: cannot be written \(No such file"):
        write_ranking_page(make_ranking(), tmp_path / "absent" / "page.html", {})
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"page\.html: cannot be written \(No space left"):
        write_ranking_page(make_ranking(), tmp_path / "page.html", {})
    assert not list(tmp_path.iterdir())
