"""`flatselect dashboard --save`: any optuna-dashboard shows what it stores, and it goes without a trace."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from served import serve_here, serve_plain
from test_dashboard import OWN_PLOTS, get_plot, read_table
from written_study import STUDY, write_study

import flatselect
from flatselect.cli.main import cli
from flatselect.cli.opening import open_study_reader
from flatselect.dashboard.saved_models import WholeFileStore
from flatselect.dashboard.saved_note import is_own_note, sign_note
from flatselect.report.study_contents import read_study_contents
from flatselect.search.events import SilentObserver
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_writer import StudyWriter
from flatselect.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def searched_url(request, tmp_path):
    """The same, to be written to."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('searched_path'), tmp_path / 'tiny.db')}"
    url = request.getfixturevalue("postgresql_url")
    (tmp_path / "tiny.toml").write_text(STUDY)
    flatselect.run_search(flatselect.load_study_file(tmp_path / "tiny.toml", [f"study.storage={url}"]))
    return url


def run(*arguments):
    """(what it has said on standard output, on standard error)."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def refuse(*arguments, code=1):
    done = CliRunner().invoke(cli, ["dashboard", *map(str, arguments)])
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.stderr.split())


@contextmanager
def open_optunas(url):
    """The study as Optuna has it."""
    storage = make_optuna_storage(url, create=False)
    yield optuna.load_study(study_name="tiny", storage=storage)
    close_optuna_storage(storage)


def read_attributes(url):
    with open_optunas(url) as study:
        return study._storage.get_study_system_attrs(study._study_id)


def read_note(url):
    with open_optunas(url) as study:
        return optuna_dashboard.get_note(study)


def list_models(url):
    """File names by the ids of the artifacts, as Optuna itself lists them."""
    with open_optunas(url) as study:
        return {meta.artifact_id: meta.filename for meta in get_all_artifact_meta(study)}


def caption_of(plot):
    return plot["layout"]["title"]["subtitle"]["text"].replace("<br>", " ")


def without_time(note):
    """Less the line that says when it was made, and the signature of the whole."""
    return [line for line in note.splitlines() if not line.startswith(("- as of:", "[flatselect]:"))]


def test_saved_plots_and_note_are_the_live_ones(plain_path, tmp_path):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    with serve_here(f"sqlite:///{copy}") as served:
        live = served.read("/api/studies/1")
    out, err = run("dashboard", copy, "--save")
    with serve_plain(f"sqlite:///{copy}") as served:
        stored = served.read("/api/studies/1")
    assert len(stored["plotly_graph_objects"]) == len(OWN_PLOTS)
    for name in OWN_PLOTS:  # this small, nothing is left out
        made, shown = (get_plot(detail, name.removeprefix("flatselect-")) for detail in (live, stored))
        assert shown["data"] == made["data"]
        assert shown["layout"]["title"] == made["layout"]["title"]
    assert stored["note"]["version"] == 1
    assert read_table(stored["note"]["body"]) == read_table(live["note"]["body"]) != []
    size = sum(len(plot["graph_object"]) for plot in stored["plotly_graph_objects"])
    note = len(stored["note"]["body"])
    assert out == f"saved in sqlite:///{copy}: 9 plots ({size / 1e3:.0f} kB), the note ({note / 1e3:.0f} kB)\n"
    assert err == f"to see it: optuna-dashboard sqlite:///{copy}\n"


def test_saved_again_it_is_the_same_and_removed_nothing_is_left(searched_url, tmp_path):
    folder = tmp_path / "artifacts"
    before, arguments = read_attributes(searched_url), ("--artifact-dir", folder)
    assert "5 models (5 new, " in run("dashboard", searched_url, "--save", *arguments)[0]
    with closing(open_study_reader(searched_url)) as reader:
        ranking = read_study_contents(reader).ranking
    models = list_models(searched_url)
    assert sorted(models.values()) == sorted(f"trial-{number}.pt" for number in ranking)
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert files.keys() == models.keys()
    with serve_plain(searched_url, folder) as served:
        first = served.read("/api/studies/1")
        exported = {}
        for artifact in first["artifacts"]:
            with urllib.request.urlopen(f"{served.root}/artifacts/1/{artifact['artifact_id']}") as answer:
                exported[artifact["filename"]] = answer.read()
    number = ranking[0]
    run("export", searched_url, "--trial", number, "-o", tmp_path / "exported.pt")
    assert exported[f"trial-{number}.pt"] == (tmp_path / "exported.pt").read_bytes()

    out, err = run("dashboard", searched_url, "--save", *arguments)
    assert "5 models (as before)" in out
    assert err.count("\n") == 1
    assert list_models(searched_url) == models
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == files, "written once"
    with serve_plain(searched_url, folder) as served:
        second = served.read("/api/studies/1")
    assert {plot["id"]: plot["graph_object"] for plot in second["plotly_graph_objects"]} == {
        plot["id"]: plot["graph_object"] for plot in first["plotly_graph_objects"]
    }
    assert (second["artifacts"], second["note"]["version"]) == (first["artifacts"], 2)
    assert without_time(second["note"]["body"]) == without_time(first["note"]["body"])

    assert "5 models are saved too: give --artifact-dir" in refuse(searched_url, "--remove-saved")
    n = len(second["plotly_graph_objects"])
    out, _ = run("dashboard", searched_url, "--remove-saved", *arguments)
    assert out.endswith(f": {n} plots, the note, 5 models (5 files)\n")
    assert read_attributes(searched_url) == before
    assert list(folder.iterdir()) == []
    assert run("dashboard", searched_url, "--remove-saved")[0].endswith(": nothing, as nothing was saved\n")


def test_live_dashboard_shows_each_once_as_it_is_now(searched_path, tmp_path):
    url = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}"
    with serve_here(url) as served:
        before = served.read("/api/studies/1")
    run("dashboard", url, "--save", "--artifact-dir", tmp_path / "artifacts")
    with serve_here(url) as served:
        after = served.read("/api/studies/1")
        assert "Saved by" not in after["note"]["body"]
        # A note that is written here takes the place of the saved one.
        assert served.ask("/api/studies/1/note", "PUT", {"version": after["note"]["version"] + 1, "body": "mine"}) == (
            *(204, None),
        )
        assert served.read("/api/studies/1")["note"]["body"] == "mine"
    assert after["plotly_graph_objects"] == before["plotly_graph_objects"]
    assert without_time(after["note"]["body"]) == without_time(before["note"]["body"])
    assert after["artifacts"] == []
    assert [trial["artifacts"] for trial in after["trials"]] == [trial["artifacts"] for trial in before["trials"]]
    assert all(len(trial["artifacts"]) == 1 for trial in after["trials"])


def test_what_is_the_users_own_stays(searched_path, tmp_path):
    url, folder = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}", tmp_path / "artifacts"
    folder.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    with open_optunas(url) as study:
        plot = optuna.visualization.plot_optimization_history(study)
        optuna_dashboard.save_plotly_graph_object(study, plot, graph_object_id="mine")
        optuna_dashboard.save_note(study, "mine")
        store = FileSystemArtifactStore(folder)
        upload_artifact(artifact_store=store, file_path=str(tmp_path / "mine.txt"), study_or_trial=study)
    before = read_attributes(url)
    out, err = run("dashboard", url, "--save", "--artifact-dir", folder)
    assert "the note (" not in out
    assert "one of your own, and stays" in err
    assert read_note(url) == "mine"
    with serve_here(url) as served:
        detail = served.read("/api/studies/1")
    assert [p["id"] for p in detail["plotly_graph_objects"]].count("mine") == 1
    assert detail["note"]["body"] == "mine"
    run("dashboard", url, "--remove-saved", "--artifact-dir", folder)
    assert read_attributes(url) == before
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]

    # An emptied one is none; and one of ours that the user went on with is theirs.
    with open_optunas(url) as study:
        optuna_dashboard.save_note(study, "")
        run("dashboard", url, "--save")
        note = optuna_dashboard.get_note(study)
        assert is_own_note(note)
        optuna_dashboard.save_note(study, f"Look at trial 1!\n\n{note}")
    assert "stays" in run("dashboard", url, "--save")[1]
    assert read_note(url).startswith("Look at trial 1!")


def test_a_copy_of_the_study_keeps_what_it_has(plain_path, tmp_path):
    url = f"sqlite:///{shutil.copy(plain_path, tmp_path / 'digits.db')}"
    run("dashboard", url, "--save")
    storage = make_optuna_storage(url, create=False)
    optuna.copy_study(from_study_name="digits", from_storage=storage, to_storage=storage, to_study_name="copy")
    saved = storage.get_study_system_attrs(2)
    assert any(key.startswith("dashboard:plot_data:flatselect-") for key in saved)
    run("dashboard", url, "--remove-saved")
    assert storage.get_study_system_attrs(2) == saved
    assert not any(key.startswith("dashboard:") for key in storage.get_study_system_attrs(1))
    close_optuna_storage(storage)
    with serve_here(url) as served:
        shown = served.read("/api/studies/2")["plotly_graph_objects"]
    assert {plot["id"] for plot in shown} == OWN_PLOTS, "as they were when it was copied"


@pytest.mark.parametrize("body", ["", "a\n\n| b |\n| :-- |\n", "é", "[flatselect]: # 'x'"])
def test_signature_is_of_the_very_note_and_is_not_shown(body):
    signed = sign_note(body)
    assert is_own_note(signed)
    assert is_own_note(f"{signed}\n")
    for other in (f"{signed} more", f"more {signed}", body, signed.replace("note", "nota"), sign_note(body)[:-3]):
        assert not is_own_note(other)
    render = MarkdownIt("commonmark").enable("table").render
    assert render(signed) == render(body)


def test_models_follow_the_ranking_and_the_checkpoints(searched_path, tmp_path):
    url, folder = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}", tmp_path / "artifacts"
    arguments = ("dashboard", url, "--save", "--artifact-dir", folder)
    with closing(open_study_reader(url)) as reader:
        uid, ranking = reader.study_uid, read_study_contents(reader).ranking
        checkpoints = reader.checkpoints()
    gone, broken, *others = ranking
    engine = make_engine(url)
    writer = StudyWriter(engine, uid)
    for number, record in checkpoints.items():
        copy = tmp_path / f"{number}.ckpt"
        shutil.copy(record.path, copy)
        writer.set_checkpoint(number, record.epoch, str(copy), record.sha256, record.size)
    (tmp_path / f"{gone}.ckpt").unlink()
    (tmp_path / f"{broken}.ckpt").write_bytes(b"broken")
    out, err = run(*arguments)
    assert "3 models (3 new, " in out
    assert f"without the model of trial {gone}: {tmp_path / str(gone)}.ckpt: no such checkpoint" in err
    assert f"without the model of trial {broken}: {tmp_path / str(broken)}.ckpt: changed since" in err
    first = list_models(url)
    assert set(first.values()) == {f"trial-{number}.pt" for number in others}

    # Checkpoints that are back are made models of; a saved model does without its own; a later epoch's is renewed.
    for number in (gone, broken):
        shutil.copy(checkpoints[number].path, tmp_path / f"{number}.ckpt")
    (tmp_path / f"{others[0]}.ckpt").unlink()
    later = save_checkpoint(tmp_path / "later.ckpt", load_checkpoint(checkpoints[others[1]].path) | {"more": 1}, 2)
    writer.set_checkpoint(others[1], later.epoch, later.path, later.sha256, later.size)
    engine.dispose()
    out, err = run(*arguments)
    assert "5 models (3 new, " in out
    assert "without" not in err
    second = list_models(url)
    assert set(second.values()) == {f"trial-{number}.pt" for number in ranking}
    kept = {f"trial-{number}.pt" for number in (others[0], others[2])}
    assert {key for key in first if key in second} == {key for key, name in first.items() if name in kept}
    assert {path.name for path in folder.iterdir()} == second.keys()

    # One that was taken out in a plain dashboard, which leaves Optuna's list broken, comes back.
    (artifact,) = (key for key, name in second.items() if name == f"trial-{gone}.pt")
    with serve_plain(url, folder) as served:
        assert served.ask(f"/api/artifacts/1/{artifact}", "DELETE")[0] == 204
    with pytest.raises(TypeError):
        list_models(url)
    assert "5 models (1 new, " in run(*arguments)[0]
    assert set(list_models(url).values()) == set(second.values())


def test_models_of_trials_that_are_overtaken_go(searched_path, tmp_path, monkeypatch):
    url, folder = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}", tmp_path / "artifacts"
    arguments = ("dashboard", url, "--save", "--artifact-dir", folder)
    run(*arguments)
    with closing(open_study_reader(url)) as reader:
        ranking = read_study_contents(reader).ranking
    # As where four trials were to be offered, and one of them is new.
    for module in ("dashboard.saved_models", "dashboard.models"):
        monkeypatch.setattr(importlib.import_module(f"flatselect.{module}"), "N_OFFERED", 4)
    out, err = run(*arguments)
    assert "4 models (as before)" in out
    assert "1 model saved before taken out" in err
    assert set(list_models(url).values()) == {f"trial-{number}.pt" for number in ranking[:4]}
    assert len(list(folder.iterdir())) == 4
    assert "4 models saved before" in run("dashboard", url, "--save")[1]


def test_another_folder_is_filled_and_the_first_stays_good(searched_path, tmp_path):
    url, folder, other = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}", tmp_path / "a", tmp_path / "b"
    run("dashboard", url, "--save", "--artifact-dir", folder)
    models = list_models(url)
    with closing(open_study_reader(url)) as reader:
        best, checkpoints = read_study_contents(reader).ranking[0], reader.checkpoints()
        engine = make_engine(url)
        file = checkpoints[best]
        gone = (best, file.epoch, str(tmp_path / "gone.ckpt"), file.sha256, file.size)
        StudyWriter(engine, reader.study_uid).set_checkpoint(*gone)
        engine.dispose()
    out, err = run("dashboard", url, "--save", "--artifact-dir", other)
    assert "4 models (4 new, " in out
    assert f"without the model of trial {best}: " in err
    assert "1 model not in " in err
    assert list_models(url) == models
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == models.keys()
    assert {path.name: path.read_bytes() for path in other.iterdir()}.items() <= files.items()
    assert "no such folder" in refuse(url, "--remove-saved", "--artifact-dir", tmp_path / "none")
    assert "5 models (4 files)" in run("dashboard", url, "--remove-saved", "--artifact-dir", other)[0]
    assert list_models(url) == {}


def test_what_is_saved_of_a_large_study_is_small_and_says_so(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    url = f"sqlite:///{tmp_path / 'large.db'}"
    importlib.import_module("large_study").make_large_study(url, tmp_path, n_trials=350, n_epochs=12)
    run("dashboard", url, "--save")
    with serve_plain(url) as served:
        detail = served.read("/api/studies/1")
    assert sum(len(plot["graph_object"]) for plot in detail["plotly_graph_objects"]) < 500_000
    with closing(open_study_reader(url)) as reader:
        contents = read_study_contents(reader)
        trials = {trial.number: trial for trial in reader.trials(include_audits=True)}
        curves = {number: {m.epoch: m.train_score for m in curve} for number, curve in reader.measurements().items()}
    learning = get_plot(detail, "learning")
    drawn = {}
    for trace in learning["data"]:
        for text, epoch, score in zip(trace["text"], trace["x"], trace["y"], strict=True):
            if score is not None:
                drawn.setdefault(int(text.removeprefix("trial ")), {})[epoch] = score
    assert len(drawn) == 30
    assert set(contents.ranking[:10]) <= set(drawn)
    for number, curve in drawn.items():
        assert curve == curves[number]
    caption = caption_of(learning)
    assert "30 of 350 trials: the best, and of the others some, evenly by number." in caption
    audit = get_plot(detail, "audit")
    points = [point for trace in audit["data"][1:] for point in zip(trace["x"], trace["y"], strict=True)]
    assert len(points) == 300
    known = {(t.audit_test_score, t.prediction.predicted_test_score) for t in trials.values() if t.prediction}
    assert set(points) <= known
    assert "300 of 350 trials, evenly by number." in caption_of(audit)
    # What the captions say of all trials is of all of them.
    errors = [abs(t.audit_test_score - t.prediction.predicted_test_score) for t in trials.values()]
    assert f"Mean absolute error {sum(errors) / len(errors):.4f}" in caption_of(audit)


# A process that saves from a first line until its input ends.
SAVE_ON_AND_ON = """
import sys, threading
from flatselect.cli.dashboard_saving import save_additions
print("ready", flush=True)
sys.stdin.readline()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
while not ended.is_set():
    save_additions(sys.argv[1], None, None)
"""


def test_a_running_search_is_not_disturbed(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("trials = 5", "trials = 10"))
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("undisturbed", "watched")]
    undisturbed, watched = (flatselect.load_study_file(tmp_path / "tiny.toml", [f"study.storage={u}"]) for u in urls)
    command = [sys.executable, "-c", SAVE_ON_AND_ON, urls[1]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as saving:

        class Observer(SilentObserver):
            n_said = 0

            def say(self, message):
                self.n_said += 1
                if self.n_said == 1:
                    saving.stdin.write("\n")
                    saving.stdin.flush()
                elif self.n_said == 3:
                    assert saving.stdout.readline().startswith("saved in"), "it does so while the search runs"

        try:
            assert saving.stdout.readline() == "ready\n"
            result = flatselect.run_search(watched, Observer())
            saving.communicate()
        finally:
            saving.kill()  # where something went wrong, it would wait for ever
    assert saving.returncode == 0
    alone = flatselect.run_search(undisturbed)
    assert result.ranking == alone.ranking
    assert [(trial.params, trial.state, trial.prediction) for trial in result.trials] == [
        (trial.params, trial.state, trial.prediction) for trial in alone.trials
    ]


def test_while_it_is_searched_it_says_so(searched_path, tmp_path):
    url = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}"
    with closing(open_study_reader(url)) as reader:
        uid, config = reader.study_uid, reader.config()
    engine = make_engine(url)
    StudyWriter(engine, uid).start_run("another host", 1, "inline", {}, config)
    engine.dispose()
    assert "the search goes on" in run("dashboard", url, "--save")[1]
    assert "The search is running" in read_note(url)


def test_without_torch_there_are_no_models(searched_path, tmp_path, monkeypatch):
    url = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}"
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    out, err = run("dashboard", url, "--save", "--artifact-dir", tmp_path / "artifacts")
    assert "0 models" in out
    assert "torch writes them, and is not installed" in err


def test_mistakes_are_answered_in_a_sentence(searched_path, plain_path, tmp_path, monkeypatch):
    url = f"sqlite:///{shutil.copy(searched_path, tmp_path / 'tiny.db')}"
    assert "give one of the two" in refuse(url, "--save", "--remove-saved", code=2)
    assert "give --save with it" in refuse(url, "--artifact-dir", tmp_path, code=2)
    (tmp_path / "file").write_text("")
    assert "is a file" in refuse(url, "--save", "--artifact-dir", tmp_path / "file", code=2)
    before = read_attributes(url)
    assert "Not a directory; give a folder" in refuse(url, "--save", "--artifact-dir", tmp_path / "file" / "in")

    # A disk that is full: injected, as a full one cannot be had here.
    def fail(store, artifact_id, content_body):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(WholeFileStore, "write", fail)
        assert "No space left on device; give a folder" in refuse(url, "--save", "--artifact-dir", tmp_path / "full")
    assert list_models(url) == {}, "no entry leads nowhere"
    run("dashboard", url, "--remove-saved")
    assert read_attributes(url) == before

    assert "no study 'absent'" in refuse("absent", "--save", "--storage", url)
    optuna.create_study(study_name="other", storage=f"sqlite:///{tmp_path / 'other.db'}")
    assert "holds no study that flatselect made" in refuse(tmp_path / "other.db", "--save")
    with monkeypatch.context() as patched:
        patched.delitem(sys.modules, "flatselect.cli.dashboard_saving")
        patched.delitem(sys.modules, "flatselect.dashboard.saved_plots")
        patched.setitem(sys.modules, "optuna_dashboard", None)
        assert "pip install 'flatselect[dashboard]'" in refuse(url, "--save")
    write_study(url, "second", n_trials=3)
    assert "name one: " in refuse(url, "--save")


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, to become one who may not write")
def test_a_database_that_may_not_be_written_is_said_to_be(plain_path):
    folder = Path(tempfile.mkdtemp(prefix="flatselect-read-only-"))  # pytest's own only their owner may enter
    try:
        copy = Path(shutil.copy(plain_path, folder / "digits.db"))
        copy.chmod(0o444)
        folder.chmod(0o555)
        # Imported before, as who it becomes may not even read Python's own files.
        code = (
            "import os, sys\n"
            "from flatselect.cli.dashboard_saving import save_additions\n"
            "from flatselect.errors import StoreError\n"
            "import plotly.graph_objects\n"
            "plotly.graph_objects.Figure().to_json()\n"
            "os.setuid(65534)\n"
            "try:\n"
            "    save_additions(sys.argv[1], None, None)\n"
            "except StoreError as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(copy)], capture_output=True, text=True, check=False)
        assert "attempt to write a readonly database; to write, SQLite needs write permission" in done.stdout, done
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
