"""SQLite files that may not be written, in folders that may not be written: each command works, or says what to do.

Root may write everything: a process of its own becomes the user "nobody" first. It is asked for all the cases at once,
after each command once as root, as who it becomes may not even read Python's own files.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

import flatselect

RELEASED = Path(__file__).parent / "released"
NOBODY = 65534
N_TRIALS, N_AUDITS = 10, 7  # of the dump

CODE = """
import json, os, sys
from click.testing import CliRunner
import flatselect
from flatselect.cli.main import cli

COMMANDS = {
    "sql": ("sql", "SELECT count(*) AS n FROM flatselect_audits", "PATH", "--json"),
    "view": ("sql", "SELECT count(*) AS n FROM flatselect_trials", "PATH", "--json"),
    "query": ("query", "PATH", "--json"),
    "where": ("query", "PATH", "--where", "number < 2", "--json"),
    "studies": ("studies", "PATH", "--json"),
    "report": ("report", "PATH", "-o", "PAGE"),
}

def ask(path, page):
    for name, words in COMMANDS.items():
        done = CliRunner().invoke(cli, [{"PATH": path, "PAGE": page}.get(word, word) for word in words])
        yield name, (done.exit_code, done.stdout if done.exit_code == 0 else done.stderr)
    try:
        with flatselect.open_study(f"sqlite:///{path}") as study:
            yield "open_study", (0, str(len(study.trials())))
    except flatselect.errors.StoreError as error:
        yield "open_study", (1, str(error))

folder, writable, *warm = sys.argv[1:]
for path in warm:
    dict(ask(path, f"{writable}/warm.html"))
os.setuid(%d)
print(json.dumps({
    name: dict(ask(f"{folder}/{name}/study.db", f"{writable}/{name}.html")) for name in sorted(os.listdir(folder))
}))
"""


def load_dump(version, path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"{version}.sql").read_text(encoding="utf-8"))


def leave_log(path, folder):
    """The files as a search leaves them that is killed after it has added an audit."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        row = "SELECT study_uid, 99, score, loss, n_images, audited_at, data_fingerprint FROM flatselect_audits LIMIT 1"
        connection.execute(f"INSERT INTO flatselect_audits {row}")
        connection.commit()
        for ending in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{ending}", folder / f"study.db{ending}")


@pytest.fixture(scope="module")
def answers():
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("needs root, to become one who may not write")
    made = Path(tempfile.mkdtemp(prefix="flatselect-read-only-"))  # pytest's own folders are closed to others
    folder, writable = made / "cases", made / "pages"
    try:
        for path in (made, folder, writable):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        writable.chmod(0o777)
        load_dump("0004", made / "new.db")
        flatselect.open_study(f"sqlite:///{made}/new.db").close()
        for version in ("0003", "0004"):
            load_dump(version, made / f"{version}.db")
        # By name: the mode of the files, and of their folder.
        closed, closed_folder, closed_file = (0o444, 0o555), (0o666, 0o555), (0o444, 0o777)
        modes = {"closed": closed, "closed_folder": closed_folder, "closed_file": closed_file, "old": closed}
        modes |= {"secret": (0o000, 0o755), "log_closed": closed, "log_closed_folder": closed_folder}
        modes |= {"lone_log_closed": closed, "lone_log_closed_file": closed_file}
        for name in modes:
            (folder / name).mkdir()
            if "log" in name:
                shutil.copy(made / "new.db", made / "left.db")
                leave_log(made / "left.db", folder / name)
            else:
                shutil.copy(made / ("0003.db" if name == "old" else "new.db"), folder / name / "study.db")
            if "lone" in name:
                (folder / name / "study.db-shm").unlink()
            for path in (folder / name).iterdir():
                path.chmod(modes[name][0])
            (folder / name).chmod(modes[name][1])
        before = {path: path.read_bytes() for path in folder.rglob("study.db")}
        words = [sys.executable, "-c", CODE % NOBODY, folder, writable, made / "new.db", made / "0004.db"]
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)
        assert before == {path: path.read_bytes() for path in before}
    finally:
        for path in folder.iterdir():
            path.chmod(0o755)
        shutil.rmtree(made)


def check_works(answers, name, n_audits):
    found = answers[name]
    assert {command: code for command, (code, _) in found.items() if code} == {}, found
    assert json.loads(found["sql"][1]) == [{"n": n_audits}]
    assert json.loads(found["view"][1]) == [{"n": N_TRIALS}]
    assert [record["number"] for record in json.loads(found["query"][1])] == list(range(N_TRIALS))
    assert [record["number"] for record in json.loads(found["where"][1])] == [0, 1]
    assert json.loads(found["studies"][1])[0]["trials"] == N_TRIALS
    assert found["open_study"][1] == str(N_TRIALS)


@pytest.mark.parametrize("name", ["closed", "closed_folder", "closed_file"])
def test_a_file_is_read(answers, name):
    check_works(answers, name, N_AUDITS)


@pytest.mark.parametrize("name", ["log_closed", "log_closed_folder", "lone_log_closed_file"])
def test_what_an_interrupted_search_left_is_read(answers, name):
    check_works(answers, name, N_AUDITS + 1)


def test_a_log_that_cannot_be_read_is_named(answers):
    for command, (code, message) in answers["lone_log_closed"].items():
        assert code == 1, command
        assert "copy study.db and study.db-wal into a folder of your own" in " ".join(message.split()), command


def test_a_file_of_which_nothing_can_be_read_is_named(answers):
    for command, (code, message) in answers["secret"].items():
        assert code == 1, command
        assert "this user may not read it" in " ".join(message.split()), command


def test_a_database_that_cannot_be_upgraded_is_named(answers):
    found = answers["old"]
    assert found["sql"][0] == 0, "its tables may be asked"
    for command in found.keys() - {"sql"}:
        code, message = found[command]
        assert code == 1, command
        assert "made by an older flatselect (tables of version 0003)" in " ".join(message.split()), command
        assert "ask a copy of your own" in " ".join(message.split()), command
