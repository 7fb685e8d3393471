"""`flatselect report` and `flatselect plot`, as a user runs them."""

import dataclasses
import re
import sqlite3
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url
from written_study import EVIL, write_study

from flatselect.cli.main import cli
from flatselect.report.matplotlib_chart import draw_picture
from flatselect.report.study_charts import CHARTS

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refuse(*arguments):
    """The message of a refusal, which is no traceback."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.stderr.split())


def test_report_writes_the_page_and_says_how_large_it_is(study_path, tmp_path):
    done = run("report", study_path, "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert re.search(r"page\.html: 14 trials, \d\.\d MB", done.stderr)
    assert "<h1>digits</h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_report_says_how_far_it_is(study_path, tmp_path, monkeypatch):
    monkeypatch.setattr("flatselect.cli.step_progress._PLAIN_SECONDS", 0)
    done = run("report", study_path, "-o", tmp_path / "page.html")
    told = re.findall(r"^making the page: (\d+)/(\d+) parts$", done.stderr, flags=re.MULTILINE)
    n_parts = 4 + len(CHARTS)
    assert told == [(str(n_done), str(n_parts)) for n_done in range(n_parts + 1)]


def test_report_of_a_name_in_another_database(evil_path, tmp_path):
    done = run("report", f"digits{EVIL}", "--storage", f"sqlite:///{evil_path}", "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output


@pytest.mark.postgresql
def test_report_of_a_study_on_a_server_shows_no_password(postgresql_url, tmp_path):
    write_study(postgresql_url, n_trials=8)
    url = make_url(postgresql_url).set(password="secret").render_as_string(hide_password=False)
    assert "secret" in url
    done = run("report", "digits", "--storage", url, "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "postgresql" in page
    assert ":secret@" not in page


def test_report_leaves_the_database_as_it_was(study_path, tmp_path):
    copy = tmp_path / "digits.db"
    copy.write_bytes(study_path.read_bytes())
    before = copy.read_bytes()
    assert run("report", copy, "-o", tmp_path / "page.html").exit_code == 0
    assert copy.read_bytes() == before


def test_report_refuses_what_it_cannot_write_or_read(study_path, tmp_path):
    assert "expected the name of an HTML page" in refuse("report", study_path, "-o", tmp_path / "page.pdf")
    assert "name a file in a folder that is there" in refuse(
        "report", study_path, "-o", tmp_path / "none" / "page.html"
    )
    assert "nothing.db" in refuse("report", tmp_path / "nothing.db", "-o", tmp_path / "page.html")
    sqlite3.connect(tmp_path / "empty.db").close()
    assert "holds no study" in refuse("report", tmp_path / "empty.db", "-o", tmp_path / "page.html")
    assert not list(tmp_path.glob("*.html"))


def test_plot_draws_a_chart_and_says_how_to_read_it(study_path, tmp_path):
    done = run("plot", study_path, "audit", "-o", tmp_path / "picture.PNG")
    assert done.exit_code == 0, done.output
    assert "Mean absolute error" in done.stderr
    assert (tmp_path / "picture.PNG").read_bytes().startswith(MAGIC["png"])


@pytest.mark.parametrize("kind", CHARTS)
def test_plot_draws_every_kind_and_takes_names_for_text(kind, evil_contents):
    drawn = ElementTree.fromstring(draw_picture(CHARTS[kind](evil_contents), "svg"))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) > 10
    assert re.search(rf"^ +{kind}  ", run("plot", "--help").stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("picture_format", MAGIC)
def test_plot_writes_pictures_of_every_format(picture_format, contents):
    chart = CHARTS["ranking"](contents)
    picture = draw_picture(chart, picture_format)
    assert picture.startswith(MAGIC[picture_format])
    assert draw_picture(chart, picture_format) == picture


@pytest.mark.parametrize("parameter", ["learning_rate", "block", "momentum"])
def test_plot_colours_points(parameter, contents, study_path, tmp_path):
    done = run("plot", study_path, "gap", "--color", parameter, "-o", tmp_path / "colored.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "colored.png").read_bytes() != draw_picture(CHARTS["gap"](contents), "png")


def test_plot_takes_formulas_for_text(evil_contents):
    evil = "$\\frac{1}$" + EVIL
    chart = CHARTS["gap"](evil_contents)
    chart = dataclasses.replace(chart, title=evil, colorings={evil: chart.colorings[f"block{EVIL}"]})
    ElementTree.fromstring(draw_picture(chart, "svg", evil))


def test_plot_suggests_what_may_be_meant(study_path, tmp_path):
    picture = tmp_path / "picture.png"
    said = refuse("plot", study_path, "rankin", "-o", picture)
    assert "rankin: no such kind of chart; did you mean ranking? there is ranking, pareto, audit" in said
    assert "did you mean learning_rate?" in refuse("plot", study_path, "gap", "--color", "lerning", "-o", picture)
    assert "gap takes --color" in refuse("plot", study_path, "cost", "--color", "width", "-o", picture)
    assert "gap.png, gap.svg or gap.pdf" in refuse("plot", study_path, "gap", "-o", tmp_path / "picture.jpg")
    assert not list(tmp_path.iterdir())


def test_plot_says_why_there_is_nothing_to_draw(tmp_path):
    write_study(f"sqlite:///{tmp_path / 'plain.db'}", n_trials=4, audited=False)
    said = refuse("plot", tmp_path / "plain.db", "audit", "-o", tmp_path / "picture.png")
    assert "nothing to draw. The study names no audit set" in said


def test_plot_without_matplotlib_says_what_brings_it(study_path, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "flatselect.report.matplotlib_chart", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refuse("plot", study_path, "gap", "-o", tmp_path / "picture.png")
    assert "pip install 'flatselect[plot]'" in said
