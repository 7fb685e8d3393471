"""optuna-dashboard with our plots and notes as a reader meets it: in a real browser, whatever names hold."""

import json
from contextlib import closing

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from served import serve_here
from test_dashboard import OWN_PLOTS
from written_study import EVIL, write_study

from flatselect.cli.opening import open_study_reader

pytestmark = [
    pytest.mark.browser,
    # Of Optuna's importances, in a thread of this process; the command lets them pass too.
    pytest.mark.filterwarnings("ignore:Some regimes for parameter"),
]
HOSTILE = f"{EVIL} | a | `b` [c](javascript:alert(3)) ![d](/d.png) **e** <b>f</b>\n\n# g"
# Of each of our plots, how many marks it has.
DRAWN_MARKS = """
return Object.fromEntries([...document.querySelectorAll("[id^='user-defined-plot:']")].map((holder) => [
  holder.id.replace("user-defined-plot:", ""),
  holder.querySelectorAll(".scatterlayer .point, .scatterlayer path.js-line, .barlayer path").length,
]));
"""


@pytest.fixture(scope="module")
def hostile_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "hostile.db"
    write_study(f"sqlite:///{path}", evil=HOSTILE)
    return path


@pytest.fixture(scope="module", params=["plain", "hostile"])
def served(request, plain_path):
    path = plain_path if request.param == "plain" else request.getfixturevalue("hostile_path")
    with closing(open_study_reader(str(path))) as reader:
        trials = {trial.number: trial for trial in reader.trials(include_audits=True)}
        name = reader.name()
    with serve_here(f"sqlite:///{path}") as served:
        served.name, served.trials = name, trials
        yield served


@pytest.fixture
def open_page(browser, served):
    def open_page(path, is_there):
        browser.get_log("browser")
        browser.get_log("performance")  # what there was of other pages
        browser.get(f"{served.page}{path}")
        WebDriverWait(browser, 60).until(lambda _: is_there(browser), f"{path} is not drawn")
        return browser

    yield open_page
    said = browser.get_log("browser")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    made = browser.find_elements(By.CSS_SELECTOR, "img, td a, a[href^='javascript'], b, h1 + h1")
    browser.get("about:blank")  # or the page asks its server again, which the next test has ended
    assert said == []
    # Nothing that a name says was run, fetched or made a part of the page.
    sent = [one["params"]["request"]["url"] for one in messages if one["method"].endswith("requestWillBeSent")]
    assert sent
    assert {
        url for url in sent if not url.startswith((served.root, "data:", "blob:", "chrome:", "chrome-untrusted:"))
    } == set()
    assert not any(url.endswith((".png", "/x")) for url in sent if url.startswith("http"))
    assert made == []


def read_text(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def squeeze(text):
    return " ".join(text.split())


def test_list_names_the_study(open_page, served):
    browser = open_page("", lambda browser: "digits" in read_text(browser))
    assert squeeze(served.name) in squeeze(read_text(browser))


def test_study_page_draws_every_plot_of_ours(open_page):
    def are_drawn(browser):
        marks = browser.execute_script(DRAWN_MARKS)
        return set(marks) == OWN_PLOTS and all(marks.values())

    browser = open_page("/studies/1", are_drawn)
    shown = read_text(browser)
    for title in ("Ranking", "Predicted against audited score", "Flatness against the test gap", "Pruned"):
        assert title in shown


def test_note_page_shows_the_ranking(open_page, served):
    browser = open_page("/studies/1/note", lambda browser: browser.find_elements(By.CSS_SELECTOR, "tbody tr"))
    cells = browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    shown = {row[1]: (row[2].removesuffix(", pruned"), row[3].removesuffix("?")) for row in cells}
    assert shown == {
        str(trial.number): (squeeze(trial.model), f"{trial.prediction.predicted_test_score:.4f}")
        for trial in served.trials.values()
        if trial.prediction
    }


def test_trial_page_shows_why_it_failed(open_page, served):
    (failed,) = [trial for trial in served.trials.values() if trial.state == "FAIL"]
    browser = open_page(
        f"/studies/1/trials?numbers={failed.number}", lambda browser: "attempt 1, " in read_text(browser)
    )
    assert squeeze(f": fail: {failed.failure}") in squeeze(read_text(browser))
