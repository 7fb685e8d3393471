"""What `flatselect dashboard --save` stores, in a real browser that looks at a plain optuna-dashboard."""

import shutil

import pytest
from click.testing import CliRunner
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from served import serve_plain
from test_dashboard_in_browser import DRAWN_MARKS, read_text

from flatselect.cli.main import cli

pytestmark = [
    pytest.mark.browser,
    # Of Optuna's importances, in a thread of this process.
    pytest.mark.filterwarnings("ignore:Some regimes for parameter"),
]


@pytest.fixture(scope="module")
def served(searched_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    url = f"sqlite:///{shutil.copy(searched_path, folder / 'tiny.db')}"
    done = CliRunner().invoke(cli, ["dashboard", url, "--save", "--artifact-dir", str(folder / "artifacts")])
    assert done.exit_code == 0, done.output
    with serve_plain(url, folder / "artifacts") as served:
        yield served


def open_page(browser, served, path, is_there):
    browser.get_log("browser")
    browser.get(f"{served.page}{path}")
    WebDriverWait(browser, 60).until(lambda _: is_there(), f"{path} is not drawn")


def test_study_page_draws_every_plot_and_offers_the_models(browser, served):
    stored = served.read("/api/studies/1")
    names = {plot["id"] for plot in stored["plotly_graph_objects"]}

    def are_drawn():
        marks = browser.execute_script(DRAWN_MARKS)
        return marks.keys() == names and all(marks.values())

    open_page(browser, served, "/studies/1", are_drawn)
    assert len(names) > 5
    shown = read_text(browser)
    assert "Study Artifacts" in shown
    files = {artifact["filename"]: artifact["artifact_id"] for artifact in stored["artifacts"]}
    assert len(files) == 5
    assert all(name in shown for name in files)
    links = browser.execute_script(
        "return [...document.querySelectorAll('a[download]')].map((a) => [a.download, a.href])"
    )
    assert dict(links) == {name: f"{served.root}/artifacts/1/{artifact}" for name, artifact in files.items()}
    assert browser.get_log("browser") == []
    browser.get("about:blank")


def test_note_page_shows_the_ranking_and_no_signature(browser, served):
    open_page(
        browser, served, "/studies/1/note", lambda: browser.find_elements(By.CSS_SELECTOR, "tbody tr td:nth-child(2)")
    )
    shown = read_text(browser)
    assert "Saved by flatselect dashboard --save" in shown
    assert "[flatselect]" not in shown
    assert "saved note" not in shown
    trials = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "tbody tr td:nth-child(2)")]
    assert sorted(trials) == ["0", "1", "2", "3", "4"]
    assert browser.get_log("browser") == []
    browser.get("about:blank")
