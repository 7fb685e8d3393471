"""The command line as a user runs it: real processes, a real local Ray, standard output read by a program."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

import flatselect

pytestmark = pytest.mark.end_to_end
COMMAND = str(Path(sys.executable).with_name("flatselect"))
DIGITS = Path(__file__).parents[2] / "studies" / "digits.toml"
SHORT = ["--trials", "6", "--set", "training.epochs=3", "--set", "calibration.trials=4", "--set", "data.size=300"]

# `flatselect search --json`: programs rely on these names and kinds.
CONTRACT = {
    "number": int,
    "state": str,
    "params": dict,
    "attempts": int,
    "epochs": int,
    "train_score": float,
    "train_loss": float,
    "relative_gap_flatness": float,
    "hessian_trace": float,
    "predicted_test_gap": float,
    "predicted_test_gap_interval": list,
    "predicted_test_score": float,
    "predicted_test_score_interval": list,
    "audit_test_score": float,
    "failure": type(None),
}


def run(*arguments: object, folder: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A short search of the shipped study on a local Ray; its folder and the JSON it printed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "digits.toml").write_text(DIGITS.read_text())
    done = run("search", "digits.toml", *SHORT, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_search_prints_one_json_object(finished: tuple[Path, dict[str, object]]) -> None:
    folder, document = finished
    assert document["study"] == "digits"
    assert document["storage"] == f"sqlite:///{folder}/digits.db"
    assert isinstance(document["calibrator"], dict)
    assert len(document["trials"]) == 6
    for trial in document["trials"]:
        for name, kind in CONTRACT.items():
            assert isinstance(trial[name], kind), name
    assert set(document["ranking"]) == {trial["number"] for trial in document["trials"]}


def test_report_and_plot_show_the_search(finished: tuple[Path, dict[str, object]]) -> None:
    folder, document = finished
    done = run("report", "digits.toml", folder=folder)
    assert done.returncode == 0, done.stderr
    best = next(trial for trial in document["trials"] if trial["number"] == document["ranking"][0])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"trial {best['number']}, {best['model']}: predicted test score {best['predicted_test_score']:.4f}" in page
    done = run("plot", "digits", "ranking", "-o", "ranking.pdf", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "ranking.pdf").read_bytes().startswith(b"%PDF")


def test_query_gives_the_same_trials(finished: tuple[Path, dict[str, object]]) -> None:
    folder, document = finished
    for study in ("digits.toml", "digits.db", "digits"):
        done = run("query", study, "--json", folder=folder)
        assert done.returncode == 0, done.stderr
        asked = json.loads(done.stdout)  # says more of each trial than the search did, and of that the same
        trials = document["trials"]
        assert isinstance(trials, list)
        assert [{name: record[name] for name in trial} for record, trial in zip(asked, trials, strict=True)] == trials
    rows = list(csv.DictReader(io.StringIO(run("query", "digits.toml", "--csv", folder=folder).stdout)))
    assert [float(row["predicted_test_score"]) for row in rows] == [
        trial["predicted_test_score"] for trial in document["trials"]
    ]
    epochs = json.loads(run("query", "digits.toml", "--epochs", "--json", folder=folder).stdout)
    assert len(epochs) == sum(trial["epochs"] for trial in document["trials"])


def test_the_same_command_again_only_prints(finished: tuple[Path, dict[str, object]]) -> None:
    folder, document = finished
    done = run("search", "digits.toml", *SHORT, folder=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "workers" not in done.stderr  # Ray is not even started
    best = document["ranking"][0]
    assert done.stdout.splitlines()
    assert f"{document['trials'][best]['predicted_test_score']:.3f}"[:4] in done.stdout


def test_export_and_load(finished: tuple[Path, dict[str, object]]) -> None:
    folder, document = finished
    done = run("export", "digits.toml", "--trial", "best", "-o", "model.pt", folder=folder)
    assert done.returncode == 0, done.stderr
    model = flatselect.load(folder / "model.pt")
    assert model.provenance["trial"]["number"] == document["ranking"][0]
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    measured = flatselect.measure(model, torch.randn(8, 1, 8, 8))
    assert measured.n_images == 8
    assert run("export", "digits.toml", "--trial", "77", "-o", "x.pt", folder=folder).returncode == 1


def wait_for_file(folder: Path, pattern: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not list(folder.rglob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {folder} after {seconds} s"
        time.sleep(0.2)


def test_ctrl_c_keeps_running_trials_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "digits.toml").write_text(DIGITS.read_text())
    command = [COMMAND, "search", "digits.toml", *SHORT]
    longer = [*command, "--set", "training.epochs=40"]
    with subprocess.Popen(longer, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_file(tmp_path / "digits-checkpoints", "*.pt")
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "go on with: flatselect search digits.toml" in errors
    assert "Traceback" not in errors
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    states = [trial["state"] for trial in json.loads(run("query", "digits.toml", "--json", folder=tmp_path).stdout)]
    assert "RUNNING" in states
    resumed = run("search", "digits.toml", *SHORT, "--set", "training.epochs=40", "--json", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    document = json.loads(resumed.stdout)
    assert len(document["trials"]) == 6
    assert {trial["state"] for trial in document["trials"]} <= {"COMPLETE", "PRUNED"}
    assert max(trial["attempts"] for trial in document["trials"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "none.toml"], 1, "no such study file"),
        (["search", "bad.toml"], 1, "study.trials = -1"),
        (["search"], 2, "Missing argument"),
        (["search", "ok.toml", "--set", "x"], 1, "section.key=value"),
        (["search", "ok.toml", "--storage", "mysql://u:secret@h/db"], 1, "mysql"),
        (["search", "ok.toml", "--storage", "sqlite:////no/such/folder/x.db"], 1, "/no/such/folder"),
        (["search", "ok.toml", "--gpus-per-trial", "8"], 1, "GPUs"),
        (["query", "nothing"], 1, "nothing"),
        (["export", "ok.toml", "-o", "x.pt"], 1, "ok"),
    ],
)
def test_a_users_mistake_gets_a_message_and_no_traceback(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    good = '[study]\nname = "ok"\n[data]\ntrain = "digits"\n'
    (tmp_path / "ok.toml").write_text(good)
    (tmp_path / "bad.toml").write_text(good.replace('"ok"', '"ok"\ntrials = -1'))
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_help_is_quick_and_has_examples(tmp_path: Path) -> None:
    for command in (["--help"], ["search", "--help"], ["query", "--help"], ["export", "--help"], ["studies", "--help"]):
        done = run(*command, folder=tmp_path)
        assert done.returncode == 0
        if len(command) == 2:
            assert "Example" in done.stdout
    environment = {**os.environ, "PYTHONPATH": ""}
    script = "import sys, flatselect.cli.main as m\nsys.argv[1:] = ['--help']\ntry: m.main()\nexcept SystemExit: pass\n"
    script += "print([n for n in ('torch', 'ray') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
