"""`flatselect doctor`: a whole report, for people and for programs, of studies that are sound and broken."""

import json
import re
from collections import namedtuple

import fsspec
import pytest
from running import Command

FLATSELECT = Command(("doctor",))
STUDY_FILE = """
[study]
name = "tiny"
[data]
train = "digits"
size = 100
[search_space]
width = { type = "int", low = 4, high = 8 }
"""
DiskUsage = namedtuple("DiskUsage", ["free"])


@pytest.fixture(autouse=True)
def study(working_folder, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = working_folder / "tiny.toml"
    path.write_text(STUDY_FILE)
    return path


def examine(*arguments):
    """(exit code, findings by subject)."""
    done = FLATSELECT.run(*arguments, "--json")
    report = json.loads(done.stdout)
    assert report["healthy"] == (done.exit_code == 0)
    return done.exit_code, {finding["subject"]: finding for finding in report["findings"]}


def test_sound_study(study):
    exit_code, findings = examine(study)
    assert exit_code == 0, findings
    assert list(findings) == [
        "python", "packages", "torch", "study file", "GPU", "threads", "Ray", "storage", "data", "checkpoints",
    ]  # fmt: skip
    assert "100 images of 1×8×8 in 10 classes" in findings["data"]["found"]
    assert sorted(path.name for path in study.parent.iterdir()) == ["tiny.toml"], "nothing is left behind"


def test_room_is_needed_for_the_checkpoints_that_are_kept_at_once(study):
    def look(options):
        study.write_text(STUDY_FILE.replace('"tiny"\n', f'"tiny"\n{options}').replace("low = 4", "low = 8"))
        found = examine(study)[1]["checkpoints"]["found"]
        return re.search(r", (\d+ \w+.*) need about ([\d.]+ \w+)$", found).groups()

    assert look("trials = 24\n")[0] == "24 trials"
    assert look("trials = 500\nkeep_checkpoints = 2\n") == ("24 checkpoints at once", look("trials = 24\n")[1])
    assert look("trials = 20\nkeep_checkpoints = 18\n")[0] == "20 checkpoints at once"


def test_table_fits_the_terminal_and_says_what_to_do(study):
    done = FLATSELECT.run(study, "--ray-address", "127.0.0.1:1")
    assert done.exit_code == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    words = " ".join(done.stdout.split())
    assert "problem Ray" in words
    assert "→ start it with `ray start --head`" in words


def test_without_a_study_only_the_machine_is_looked_at(study):
    assert examine()[1].keys() == {"python", "packages", "torch", "GPU", "threads", "Ray"}


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        (("size = 100", "sise = 100"), "study file", "did you mean 'size'?"),
        (('"digits"\nsize = 100', '"arrays:absent.npz"'), "data", "absent.npz"),
        (("size = 100", "size = 10000000"), "data", "data.size = 10000000"),
        (("size = 100", 'size = 100\naudit = "folder:absent"'), "data", "data.audit"),
        (('"tiny"', '"tiny"\nstorage = "postgresql://ann:secret@127.0.0.1:1/x"'), "storage", "is the server running"),
        (('"tiny"', '"tiny"\ncheckpoints = "/proc/checkpoints"'), "checkpoints", "nothing can be written in /proc"),
        (("size = 100", 'size = 100\n[ray]\naddress = "127.0.0.1:1"'), "Ray", "nothing answers"),
        (("size = 100", 'size = 100\n[model]\nname = "absent:make"'), "checkpoints", "absent"),
    ],
)
def test_what_is_wrong_with_a_study_is_the_one_problem(study, change, subject, words):
    study.write_text(STUDY_FILE.replace(*change))
    exit_code, findings = examine(study)
    assert exit_code == 1
    assert [name for name, finding in findings.items() if finding["verdict"] == "problem"] == [subject], findings
    assert words in findings[subject]["found"]
    assert "secret" not in str(findings)


@pytest.mark.parametrize(("free", "verdict"), [(10**3, "problem"), (500_000, "warning"), (10**12, "ok")])
def test_disk_with_too_little_room(study, free, verdict, monkeypatch):
    # A disk of that size cannot be had here. Twenty trials of the largest candidate need some 400 kB.
    monkeypatch.setattr("psutil.disk_usage", lambda path: DiskUsage(free))
    _, findings = examine(study)
    assert findings["checkpoints"]["verdict"] == verdict, findings["checkpoints"]


def test_missing_study_file():
    _, findings = examine("absent.toml")
    assert "no such study file" in findings["study file"]["found"]
    assert "data" not in findings


def test_checkpoints_at_a_url_are_tried(study):
    def look(url):
        text = STUDY_FILE.replace('"tiny"\n', f'"tiny"\ncheckpoints = "{url}"\n')
        study.write_text(text + '[ray]\nbackend = "inline"\n')
        return examine(study)[1]["checkpoints"]

    sound = look("memory://bucket/checkpoints")
    assert sound["verdict"] == "ok"
    assert "can be written, 20 trials need about" in sound["found"]
    assert fsspec.filesystem("memory").find("bucket") == [], "nothing is left behind"
    closed = look("file:///proc/checkpoints")
    assert closed["verdict"] == "problem"
    assert "file:///proc/checkpoints: nothing can be written there" in closed["found"]
