"""The group of commands: what it loads, what it says, how it exits."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from test_query import make_study

from flatselect.cli.main import VERBS, cli, main
from flatselect.errors import StoreError


def test_help_loads_neither_torch_nor_ray():
    script = (
        "import sys, time; started = time.process_time()\n"
        "from flatselect.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "heavy = {'torch', 'ray', 'optuna', 'sqlalchemy', 'numpy', 'pydantic'} & sys.modules.keys()\n"
        "print(sorted(heavy), time.process_time() - started < 1, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == "[] True\n"
    for name, verb in VERBS.items():
        assert name in done.stdout
        assert verb.help in done.stdout


def test_query_and_dashboard_load_neither_torch_nor_ray():
    modules = "flatselect.cli.query, flatselect.cli.studies, flatselect.cli.dashboard, flatselect.dashboard.server"
    script = f"import sys, {modules}; print({{'torch', 'ray'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", VERBS)
def test_every_command_has_an_example(name):
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Example" in shown.output
    assert f"flatselect {name}" in shown.output
    assert shown.output.count("--debug") == 1


def test_version():
    done = CliRunner().invoke(cli, ["--version"])
    assert done.exit_code == 0
    assert done.output.startswith("flatselect, version ")


@pytest.mark.parametrize("arguments", [["no-such-command"], ["query"], ["query", "x", "--no-such-option"]])
def test_misuse_exits_with_2(arguments):
    assert CliRunner().invoke(cli, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["--debug", "query", "absent"], ["query", "absent", "--debug"]])
def test_debug_shows_where_an_error_came_from(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(cli, ["query", "absent"])
    assert isinstance(refused.exception, SystemExit)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert isinstance(CliRunner().invoke(cli, arguments).exception, StoreError)


def test_interrupted_command_exits_with_130(monkeypatch):
    @click.command()
    def wait():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["flatselect.cli.query"], "query", wait)
    done = CliRunner().invoke(cli, ["query"])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_names_in_an_error_cannot_command_the_terminal(tmp_path):
    for name in ("one\x1b[31m", "two\x07\u202e"):
        make_study(tmp_path / "study.db", name)
    done = CliRunner().invoke(cli, ["query", str(tmp_path / "study.db")], color=True)
    assert done.exit_code == 1
    assert "one\\x1b[31m or two\\x07\\u202e" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["studies"], ["sql", "SELECT 1"]])
def test_a_full_disk_is_a_message(words, unbuffered, tmp_path):
    make_study(tmp_path / "study.db", "digits")
    script = "from flatselect.cli.main import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, *words, "study.db", "--csv"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    message = "Error: cannot be written to the end (No space left on device); make room\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_entry_point_is_main():
    script = "from flatselect.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "query"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage: flatselect query" in done.stderr
    assert callable(main)


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_do_not_spin_unless_the_user_says_so(monkeypatch, given, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(sys, "argv", ["flatselect", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OMP_WAIT_POLICY"] == expected
