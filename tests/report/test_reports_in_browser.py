"""Pages as a reader meets them: in a real browser, by mouse, by keyboard, on a phone, in the dark, on paper."""

import json

import pytest

from flatselect.report.page import write_page
from flatselect.report.study_charts import CHARTS
from flatselect.report.study_page import make_study_page

pytestmark = pytest.mark.browser

# Of every text, its contrast with what lies behind it (WCAG 2), and the text; those of less than `least`.
FAINT_TEXTS = """
const least = arguments[0];
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
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || node.closest("script, style, noscript, option")) continue;
  const style = getComputedStyle(node);
  const own = parse(node.closest("svg") ? style.fill : style.color);
  const [high, low] = [light(own), light(behind(node))].sort((a, b) => b - a);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < least) found.push([contrast, walker.currentNode.textContent.trim().slice(0, 40)]);
}
return found;
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
    return folder


def emulate(browser, width=1280, *, dark=False):
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture
def open_page(browser, pages):
    def open_page(name="digits", width=1280, *, dark=False):
        emulate(browser, width, dark=dark)
        browser.get_log("performance")  # what there was of other pages
        browser.get_log("browser")
        browser.get((pages / f"{name}.html").as_uri())
        assert browser.execute_script("return document.documentElement.dataset.drawn") == str(len(CHARTS))
        return browser

    return open_page


def list_requests(browser):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [
        message["params"]["request"]["url"] for message in messages if message["method"].endswith("requestWillBeSent")
    ]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


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


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)], ids=["phone", "dark"])
def test_is_readable(open_page, width, dark):
    browser = open_page(width=width, dark=dark)
    assert browser.execute_script(FAINT_TEXTS, 4.5) == []
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 24, 31)" if dark else "rgb(255, 255, 255)")
    # Tables scroll by themselves; the page does not move sideways.
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth - {page}.clientWidth") == 0


def test_charts_follow_the_reader_into_the_dark(open_page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser = open_page()
    emulate(browser, dark=True)  # the page hears of it in an event, some time later
    message = "texts stay as dark as the page"
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(FAINT_TEXTS, 4.5) == [], message)


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
