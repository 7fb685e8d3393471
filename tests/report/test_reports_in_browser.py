"""Pages as a reader meets them: in a real browser, by mouse, by keyboard, on a phone, in the dark, on paper."""

import json
from importlib import resources

import pytest
from made_ranking import make_ranking

from flatselect.report.calibration_charts import write_calibration_page
from flatselect.report.page import write_page
from flatselect.report.ranking_page import write_ranking_page
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_page import make_study_page

pytestmark = pytest.mark.browser

# What axe-core finds, and what it could not decide: of each, the rule, the element and why. It cannot tell the contrast
# of a chart's texts, nor of what is scrolled out of sight.
FIND_FAULTS = """
const done = arguments[0];
const list = (results) => results.flatMap(({ id, nodes }) =>
  nodes.map(({ target, failureSummary }) => [id, target.join(" "), failureSummary]));
axe.run(document, { rules: { "target-size": { enabled: true } } }).then(
  (found) => done(list([...found.violations, ...found.incomplete.filter(({ id }) => id !== "color-contrast")])),
  (error) => done([["axe-core", "", String(error)]]));
"""
# Of every text in a chart, its contrast with what lies behind it (WCAG 2) and the text: those below what AA asks for.
FAINT_CHART_TEXTS = """
const least = 4.5;
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("svg text")) {
  const own = parse(getComputedStyle(node).fill);
  const [high, low] = [light(own), light(behind(node))].sort((a, b) => b - a);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < least) found.push([contrast, node.textContent.trim().slice(0, 40)]);
}
return found;
"""
IS_DRAWN = """
const n = document.querySelectorAll("[data-chart]").length;
return n > 0 && document.documentElement.dataset.drawn === String(n);
"""
DRAWN_MARKS = """
return Object.fromEntries([...document.querySelectorAll("[data-chart]")].map((holder) => [
  holder.id.replace("chart-", ""),
  holder.querySelectorAll(".scatterlayer .point, .scatterlayer path.js-line, .barlayer path").length,
]));
"""


@pytest.fixture(scope="module")
def pages(contents, evil_contents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, of_study in (("digits", contents), ("evil", evil_contents)):
        write_page(make_study_page(of_study), folder / f"{name}.html")
    write_ranking_page(make_ranking(), folder / "ranking.html", {"training images": "digits"})
    write_ranking_page(make_ranking(predicted=False), folder / "uncalibrated.html", {"training images": "digits"})
    write_calibration_page(contents.calibrator, folder / "calibration.html")
    return folder


def emulate(browser, width=1280, *, dark=False, media=""):
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme], "media": media})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_for(browser, script):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(script), f"never came true: {script}")


@pytest.fixture
def open_page(browser, pages):
    def open_page(name="digits", width=1280, *, dark=False):
        emulate(browser, width, dark=dark)
        browser.get_log("performance")  # what there was of other pages
        browser.get_log("browser")
        browser.get((pages / f"{name}.html").as_uri())
        wait_for(browser, IS_DRAWN)
        return browser

    return open_page


def list_requests(browser):
    """Those of pages; the browser's own window asks for pictures at chrome://."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [
        message["params"]["request"]["url"] for message in messages if message["method"].endswith("requestWillBeSent")
    ]
    return [url for url in sent if not url.startswith(("data:", "blob:", "chrome:"))]


@pytest.mark.parametrize("name", ["digits", "evil"])
def test_every_chart_is_drawn_without_an_error_or_a_request(open_page, pages, name):
    browser = open_page(name)
    marks = browser.execute_script(DRAWN_MARKS)
    assert set(marks) == set(CHARTS)
    assert all(marks.values()), marks
    assert browser.get_log("browser") == []
    assert list_requests(browser) == [(pages / f"{name}.html").as_uri()]
    # Nothing that a name says was run: an alert would be open, an image would be there.
    assert browser.execute_script("return document.images.length") == 0


def test_the_browser_itself_lets_nothing_be_fetched(open_page):
    browser = open_page()
    outcome = browser.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org').then(() => done('fetched'), () => done('refused'))"
    )
    assert outcome == "refused"
    assert "Content Security Policy" in str(browser.get_log("browser"))


def find_faults(browser):
    browser.execute_script((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    return browser.execute_async_script(FIND_FAULTS)


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        *((name, 1280, dark) for name in ("digits", "ranking", "calibration") for dark in (False, True)),
        *((name, 390, False) for name in ("evil", "ranking", "uncalibrated", "calibration")),
    ],
)
def test_is_accessible(name, width, dark, open_page):
    browser = open_page(name, width, dark=dark)
    assert find_faults(browser) == []
    assert browser.execute_script(FAINT_CHART_TEXTS) == []
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 24, 31)" if dark else "rgb(255, 255, 255)")
    # Tables scroll by themselves; the page does not move sideways.
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth - {page}.clientWidth") == 0


def test_what_is_not_accessible_is_found(open_page):
    browser = open_page("calibration")
    browser.execute_script("""
        document.documentElement.removeAttribute("lang");
        document.querySelector("h1").style.color = "#aaa";
        document.querySelector("svg text").style.fill = "#aaa";
        document.querySelector("[role=img]").removeAttribute("aria-label");
    """)
    assert {rule for rule, *_ in find_faults(browser)} == {"html-has-lang", "color-contrast", "role-img-alt"}
    assert len(browser.execute_script(FAINT_CHART_TEXTS)) == 1


def test_charts_follow_the_reader_into_the_dark(open_page):
    browser = open_page()
    emulate(browser, dark=True)  # the page hears of it in an event, some time later
    wait_for(browser, f"return (() => {{ {FAINT_CHART_TEXTS} }})().length === 0")


def test_everything_can_be_reached_and_used_by_keyboard(open_page):
    from selenium.webdriver.common.keys import Keys

    browser = open_page()
    reached = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        if element.tag_name == "body":
            break
        reached.append(element.get_attribute("aria-label") or element.get_attribute("id") or element.text)
        assert element.value_of_css_property("outline-style") == "solid", reached
    expected = browser.execute_script(
        "return document.querySelectorAll('a[href], select, summary, [tabindex=\"0\"]').length"
        " - document.querySelectorAll('details:not([open]) [tabindex=\"0\"]').length"
    )
    assert len(reached) == len(set(reached)) == expected
    assert {"Ranking", "Ranking, all numbers", "color-gap", "Pruned trials", "The study file"} <= set(reached)


def test_points_take_the_colours_of_the_chosen_parameter(open_page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    browser = open_page()
    read_colors = (
        "return [...document.querySelectorAll('#chart-gap .point')]"
        ".map((p) => getComputedStyle(p).fill + getComputedStyle(p).stroke)"
    )
    before = browser.execute_script(read_colors)
    assert len(set(before)) == 2  # measured and predicted
    select = Select(browser.find_element(By.ID, "color-gap"))
    select.select_by_visible_text("learning_rate")
    assert len(set(browser.execute_script(read_colors))) > len(before) / 2  # all differ, some by too little
    select.select_by_visible_text("block")
    bar = browser.execute_script("return document.querySelector('#chart-gap .colorbar').textContent")
    assert "plain" in bar
    assert "residual" in bar
    select.select_by_visible_text("kind of gap")
    assert browser.execute_script(read_colors) == before
    assert browser.execute_script("return document.querySelectorAll('#chart-gap .colorbar').length") == 0
    assert browser.get_log("browser") == []


def test_is_printed_light_and_whole(open_page):
    browser = open_page(dark=True)
    seen = browser.execute_script("""
        dispatchEvent(new Event("beforeprint"));
        const widths = [...document.querySelectorAll("[data-chart] .main-svg")].map((svg) => svg.clientWidth);
        const background = getComputedStyle(document.body).backgroundColor;
        dispatchEvent(new Event("afterprint"));
        return [Math.max(...widths), background, getComputedStyle(document.body).backgroundColor];
    """)
    assert seen == [680, "rgb(255, 255, 255)", "rgb(20, 24, 31)"]
    assert browser.get_log("browser") == []


def test_nothing_is_cut_off_on_paper(open_page):
    browser = open_page()
    emulate(browser, 740, media="print")  # a sheet of Letter, which is narrower than A4 without its margins
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    too_wide = browser.execute_script("""
        return [...document.querySelectorAll("table, .main-svg")]
            .filter((each) => each.getBoundingClientRect().right > 740).map((each) => each.outerHTML.slice(0, 100));
    """)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert too_wide == []
