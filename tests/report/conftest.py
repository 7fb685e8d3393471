"""Studies to report on, and a browser to look at the reports."""

import shutil
from contextlib import closing

import pytest
from written_study import EVIL, STUDY, write_study

import flatselect
from flatselect.cli.opening import open_study_reader
from flatselect.report.study_contents import read_study_contents


@pytest.fixture(scope="session")
def study_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "digits.db"
    write_study(f"sqlite:///{path}", minimize=["parameters"])
    return path


@pytest.fixture(scope="session")
def plain_path(tmp_path_factory):
    """A study with one objective."""
    path = tmp_path_factory.mktemp("plain") / "digits.db"
    write_study(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def searched_path(tmp_path_factory):
    """A study with checkpoints."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "tiny.toml").write_text(STUDY)
    flatselect.run_search(flatselect.load_study_file(folder / "tiny.toml"))
    return folder / "tiny.db"


@pytest.fixture(scope="session")
def evil_path(tmp_path_factory):
    """A study in which every name and message is hostile."""
    path = tmp_path_factory.mktemp("evil") / "evil.db"
    write_study(f"sqlite:///{path}", evil=EVIL, minimize=["parameters"])
    return path


@pytest.fixture(scope="session")
def contents(study_path):
    with closing(open_study_reader(str(study_path))) as reader:
        return read_study_contents(reader)


@pytest.fixture(scope="session")
def plain_contents(plain_path):
    with closing(open_study_reader(str(plain_path))) as reader:
        return read_study_contents(reader)


@pytest.fixture(scope="session")
def evil_contents(evil_path):
    with closing(open_study_reader(str(evil_path))) as reader:
        return read_study_contents(reader)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Debian's Chromium without a window, that tells of every request and message."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        *("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1280,900"),
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_script_timeout(120)
    yield opened
    opened.quit()
